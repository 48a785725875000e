/**
 * Every error that daybook reports, by its stable code. The table in shared/README.md is held equal to this one by
 * test/house/docs.test.ts. `status` is the HTTP answer where a sender can meet the code; `exit` is how a
 * command ends that fails with it; `retry` says whether the same call may succeed later without anybody changing anything.
 *
 * Codes are one list, since users and their scripts rely on them. Whoever knows better what to do gives a hint of its own: a
 * driver does so for each code that other drivers use too.
 */
interface ErrorKind {
  readonly title: string;
  readonly hint: string;
  readonly status?: number;
  /** 1: configuration or usage. 3: a fault in the archive. Else 2: nothing is lost, run again. */
  readonly exit?: 1 | 3;
  readonly retry?: boolean;
}

export const errorCodes = {
  // --- HTTP, in the order in which a request can meet them
  request_malformed: {
    status: 400,
    title: 'Not a request',
    hint: 'Send HTTP/1.1 with a Host header, one Content-Length or chunks that are whole.',
  },
  headers_too_large: { status: 431, title: 'Headers too large', hint: 'All headers together may have 16 KiB.' },
  request_timeout: {
    status: 408,
    title: 'The request did not come in time',
    hint: 'Headers must be in within 10 s, the whole request within 30 s.',
  },
  expectation_unknown: { status: 417, title: 'Expectation unknown', hint: 'Send Expect: 100-continue, or no Expect.' },
  unknown_route: { status: 404, title: 'No such route', hint: 'POST to /webhooks/<source> or /events.' },
  unknown_source: {
    status: 404,
    title: 'No such source',
    hint: 'The name after /webhooks/ must be that of a source in DAYBOOK_SOURCES whose scheme signs the body: any but panda.',
  },
  method_not_allowed: { status: 405, title: 'Method not allowed', hint: 'See the Allow header.' },
  caller_refused: {
    status: 403,
    title: 'Calls from this address are not allowed',
    hint: 'The address must be on the `allow` of the source. Behind a proxy, INGEST_TRUSTED_PROXIES must name the proxy.',
  },
  unsupported_media_type: {
    status: 415,
    title: 'Unsupported media type',
    hint: 'Send application/json in UTF-8; /events also takes application/cloudevents+json and …-batch+json.',
  },
  unsupported_content_encoding: {
    status: 415,
    title: 'Unsupported content encoding',
    hint: 'Send the body as it is, without gzip, br or any other Content-Encoding.',
  },
  body_too_large: { status: 413, title: 'Body too large', hint: 'The limit is INGEST_MAX_BODY_BYTES.' },
  signature_missing: {
    status: 400,
    title: 'Signature missing',
    hint: 'Send the Stripe-Signature header. A proxy on the way may have removed it.',
  },
  signature_malformed: {
    status: 400,
    title: 'Signature header malformed',
    hint: 'Stripe-Signature is t=<seconds>,v1=<64 hex digits>, with further v1 while a secret is rolled.',
  },
  signature_mismatch: {
    status: 400,
    title: 'Signature does not match',
    hint: "Compare the source's secrets with the endpoint's signing secret; nothing on the way may change the body.",
  },
  signature_secret_expired: {
    status: 400,
    title: 'Signed with an expired secret',
    hint: 'The secret is past its notAfter. Let the sender use the new one, or move notAfter.',
  },
  signature_stale: {
    status: 400,
    title: 'Signature too old',
    hint: 'It may be 300 s old at most. Check the clock of this machine; a copy sent again later is refused.',
  },
  signature_in_future: {
    status: 400,
    title: 'Signature from the future',
    hint: 'It may be 300 s ahead at most. Check the clocks of this machine and of the sender.',
  },
  credentials_missing: {
    status: 401,
    title: 'Credentials missing',
    hint: 'At /events send X-Gu-Tools-HMAC-Token and X-Gu-Tools-HMAC-Date, or webhook-id, webhook-timestamp and webhook-signature; from a page its login cookie; at /webhooks/<source> what the scheme of the source signs.',
  },
  credentials_incomplete: {
    status: 401,
    title: 'Credentials incomplete',
    hint: 'Send every header of the scheme. A proxy on the way may have removed one.',
  },
  no_cookie: {
    status: 401,
    title: 'No login cookie',
    hint: "Log in. A page sends the cookie with fetch's credentials: 'include', to hosts of the cookie's domain alone.",
  },
  invalid_cookie: {
    status: 403,
    title: 'Login cookie invalid',
    hint: 'Log in again. If that does not help, the key of the source is not the one that signs its cookies.',
  },
  expired_cookie: {
    status: 403,
    title: 'Login cookie expired',
    hint: 'Log in again. It is taken until 24 hours after its `expires`.',
  },
  invalid_user: {
    status: 403,
    title: 'User not admitted',
    hint: 'The source names the domains of its e-mail addresses, and whether a second factor is needed.',
  },
  origin_refused: {
    status: 403,
    title: 'Origin refused',
    hint: 'Pages may send whose origin is in `origins` of a cookie source, by https.',
  },
  cookie_key_unavailable: {
    status: 503,
    retry: true,
    title: 'No public key for login cookies yet',
    hint: 'It could not be read from its place since the start: the log has the reason. It is tried again each minute.',
  },
  service_unknown: {
    status: 403,
    title: 'Service unknown',
    hint: 'X-Gu-Tools-Service-Name must be the name of a panda source in DAYBOOK_SOURCES.',
  },
  token_malformed: { status: 403, title: 'Token malformed', hint: 'Send the signature in the form of the scheme.' },
  date_malformed: {
    status: 403,
    title: 'Date malformed',
    hint: 'Send the time of signing in the form of the scheme.',
  },
  token_mismatch: {
    status: 403,
    title: 'Token does not match',
    hint: 'Sign what the scheme signs with a secret of the source; nothing on the way may change it.',
  },
  token_secret_expired: {
    status: 403,
    title: 'Signed with an expired secret',
    hint: 'The secret is past its notAfter. Let the sender use the new one, or move notAfter.',
  },
  date_stale: {
    status: 403,
    title: 'Date too old',
    hint: 'It may be 5 minutes old at most, or as many seconds as toleranceSeconds of the source says. Check both clocks.',
  },
  date_in_future: {
    status: 403,
    title: 'Date from the future',
    hint: 'It may be 5 minutes ahead at most, or as many seconds as toleranceSeconds of the source says. Check both clocks.',
  },
  body_malformed: {
    status: 400,
    title: 'Body malformed',
    hint: 'Send JSON in UTF-8 without a byte order mark, nested 200 deep at most.',
  },
  event_invalid: { status: 400, title: 'Event invalid', hint: 'Mend the fields that `errors` points to.' },
  wrong_mode: {
    status: 403,
    title: 'Wrong mode',
    hint: 'livemode is not the mode of this source. Send to the endpoint of the other mode.',
  },
  time_out_of_range: {
    status: 422,
    title: 'Claimed time out of range',
    hint: 'It may be 5 minutes ahead at most and, unless it comes from Stripe, 30 days old.',
  },
  overloaded: {
    status: 503,
    retry: true,
    title: 'Too much at once',
    hint: 'Memory for bodies or for waiting records is used up. The sender repeats after Retry-After.',
  },
  request_aborted: {
    status: 400,
    title: 'The sender went away',
    hint: 'Nothing was stored; the sender repeats by itself.',
  },
  job_secret_refused: {
    status: 403,
    title: 'Job secret missing or wrong',
    hint: 'Send in X-Job-Secret what COMPACTOR_JOB_SECRET holds. Where that is not set, no job can be started by request.',
  },
  job_invalid: {
    status: 400,
    title: 'Job options wrong',
    hint: 'Send no body, or a JSON object: for run {"days":["2026-11-20"],"force":true}, for verify {"strict":true}.',
  },
  job_running: {
    status: 409,
    title: 'A job is running',
    hint: '`running` says which, since when and how far. One runs at a time: ask again when GET /jobs has null there.',
  },
  console_not_found: {
    status: 404,
    title: 'Not in the archive',
    hint: 'GET /api/days tells which sources and days there are.',
  },
  console_query_invalid: {
    status: 400,
    title: 'Query wrong',
    hint: 'Write months as 2026-11, days as 2026-11-20, names and ids as they are, URL-encoded. See The console in compactor/README.md.',
  },
  archive_unread: {
    status: 503,
    retry: true,
    title: 'The archive cannot be read, or does not hold',
    hint: 'Mend what the detail names: the store, or a manifest. `node compactor/main.ts verify` and `doctor` say more.',
  },
  console_closed: {
    status: 403,
    title: 'The console is open on its own machine alone',
    hint: 'Ask it there, by http://localhost and not through a proxy, which is enough only where COMPACTOR_HOST is a loopback address. Or let people log in: COMPACTOR_CONSOLE_PASSWORD, or COMPACTOR_CONSOLE_USER_HEADER behind a proxy that does so.',
  },
  host_unknown: {
    status: 421,
    title: 'The console is not known by this host name',
    hint: 'Name it in COMPACTOR_CONSOLE_HOSTS. A page that lets its own name point here is kept out so.',
  },
  login_needed: {
    status: 401,
    title: 'Log in first',
    hint: 'Log in at /login and send its cookie, or send in X-Job-Secret what COMPACTOR_JOB_SECRET holds.',
  },
  login_refused: { status: 403, title: 'The password is wrong', hint: 'Try again; mind upper and lower case.' },
  login_too_often: {
    status: 429,
    title: 'Too many wrong passwords',
    hint: 'Wait as long as it says. Behind a proxy COMPACTOR_TRUSTED_PROXIES must name it, or else all who call count as one.',
  },
  role_refused: {
    status: 403,
    title: 'You may read, and not act',
    hint: 'Log in with the password of COMPACTOR_CONSOLE_PASSWORD; behind a proxy, COMPACTOR_CONSOLE_ACTORS names who may act.',
  },
  form_refused: {
    status: 403,
    title: 'The form is too old, or not of this page',
    hint: 'Nothing was done. Load the page again and send the form from there.',
  },
  internal_error: { status: 500, title: 'Internal error', hint: 'A fault in daybook. The log line has the cause.' },
  // --- programs
  configuration_invalid: {
    exit: 1,
    title: 'Configuration missing or wrong',
    hint: 'Mend every line named, then start again.',
  },
  usage: { exit: 1, title: 'Command line wrong', hint: 'See --help.' },
  confirmation_needed: {
    exit: 1,
    title: 'Somebody has to agree first',
    hint: 'Run it on a terminal and answer y, or give --yes.',
  },
  file_changed: {
    retry: true,
    title: 'Somebody else has changed the file meanwhile',
    hint: 'Nothing was written over that. Run again: it begins with the file as it is now.',
  },
  listener_unavailable: { title: 'The port cannot be opened', hint: 'See the cause: another program may hold it.' },
  // --- stream
  stream_unavailable: {
    status: 503,
    retry: true,
    title: 'The stream does not take events',
    hint: 'The sender repeats after Retry-After. See the log for what the stream said.',
  },
  stream_missing: {
    title: 'The stream is not there',
    hint: 'Create it, or mend its name in DAYBOOK_STREAM.',
  },
  stream_credentials_refused: {
    title: 'The stream refuses the credentials',
    hint: 'Compare the credentials of DAYBOOK_STREAM with those that the service knows.',
  },
  stream_not_authorised: {
    title: 'The stream does not allow this user what daybook needs',
    hint: 'Allow it what the message names.',
  },
  stream_unsuitable: {
    status: 503,
    title: 'The stream would lose events',
    hint: 'Change its configuration as the message says, or choose another stream.',
  },
  stream_unreadable: {
    status: 503,
    retry: true,
    title: 'What was written to the stream cannot be read back',
    hint: 'New events go to the spool, and /readyz says 503, until it can be read: see the cause, restore the stream from a copy, restart ingest. A night cannot archive what it cannot read.',
  },
  stream_damaged: {
    title: 'The stream file cannot be read',
    hint: 'Keep the file, restore a copy of it, see the cause.',
  },
  // --- spool
  spool_full: {
    status: 503,
    retry: true,
    title: 'The spool is full',
    hint: 'Bring the stream back, raise maxBytes in INGEST_SPOOL, or make room on the disk. The sender repeats after Retry-After.',
  },
  spool_unavailable: {
    status: 503,
    retry: true,
    title: 'The spool does not take events',
    hint: 'See the cause: permissions, the disk, or the database of INGEST_SPOOL. The sender repeats after Retry-After.',
  },
  spool_in_use: {
    title: 'Another ingest holds this spool',
    hint: 'Give each ingest a DAYBOOK_DATA_DIR of its own, or let all share a spool of type sql.',
  },
  spool_damaged: {
    title: 'The spool file is damaged',
    hint: 'ingest puts it aside as it starts and keeps all that can be read; the log says what was found.',
  },
  // --- store
  object_key_invalid: {
    title: 'No store takes this object key',
    hint: 'A key is a relative path, with no slash in front and none doubled. Where a manifest names this one, that is damaged: restore it from a copy of the archive.',
  },
  object_missing: { exit: 3, title: 'An object is not there', hint: 'Restore it from a copy of the archive.' },
  store_unavailable: { retry: true, title: 'The object store failed', hint: 'Run again when the store answers.' },
  store_bucket_missing: {
    title: 'The bucket does not exist',
    hint: 'Make it, or mend DAYBOOK_STORE.params.bucket, region and endpoint.',
  },
  store_permission_denied: {
    title: 'The object store does not permit this',
    hint: 'The credentials need s3:ListBucket on the bucket and s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on its objects, and with sse aws:kms the use of the key.',
  },
  store_credentials_missing: {
    title: 'No credentials for the object store',
    hint: 'Give them as the AWS SDK finds them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role.',
  },
  store_credentials_refused: {
    title: 'The object store refuses the credentials',
    hint: 'Compare the access key and the secret key with those of the store; a session token may have expired.',
  },
  store_region_wrong: {
    title: 'The bucket is not in this region',
    hint: 'Set DAYBOOK_STORE.params.region (or AWS_REGION) to the region of the bucket.',
  },
  store_clock_skewed: {
    title: "The clock differs too much from the object store's",
    hint: 'Let this machine keep its time by NTP.',
  },
  store_not_create_only: {
    title: 'The object store writes over objects that are there',
    hint: 'Use another store, or a newer version of it. Nothing was written but a probe object.',
  },
  store_public: {
    title: 'The bucket is public, or could become so',
    hint: 'Block public access to it (BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy, RestrictPublicBuckets).',
  },
  removal_refused: {
    title: 'The store refuses to delete an object',
    hint: 'Object Lock, a legal hold or a policy keeps it (s3:DeleteObject; in a directory the permissions). Run prune again when that has ended: nothing else is lost.',
  },
  legal_hold_failed: {
    title: 'A legal hold could not be set or ended in the bucket',
    hint: 'Nothing else is lost: allow s3:PutObjectLegalHold and s3:GetBucketObjectLockConfiguration, then type the same `hold` or `release` again. It goes on where it ended.',
  },
  // --- keys and formats
  json_too_deep: { title: 'JSON nested too deeply', hint: 'Stock jq reads 256 levels; daybook takes 200.' },
  signing_failed: {
    title: 'The KMS does not sign',
    hint: 'Allow kms:GetPublicKey and kms:Sign on the key, which must be enabled; see region and credentials. No manifest was written: run again.',
  },
  key_invalid: {
    exit: 1,
    title: 'A key is of the wrong kind',
    hint: 'Make one with: openssl genpkey -algorithm ed25519; its public half with: openssl pkey -pubout.',
  },
  identity_invalid: {
    exit: 1,
    title: 'The identity file cannot be used',
    hint: 'Give the file of age-keygen, or the RSA private key whose public half is a recipient.',
  },
  identity_needs_passphrase: {
    exit: 1,
    title: 'The identity has a passphrase',
    hint: 'It is asked for on the terminal; where there is none give a copy without one (ssh-keygen -p, openssl pkey).',
  },
  passphrase_wrong: {
    exit: 1,
    title: 'The passphrase does not open the identity',
    hint: 'Try again; see which key is asked for.',
  },
  output_exists: {
    exit: 1,
    title: 'The output is there already',
    hint: 'Nothing is overwritten: give another name or folder, or move the file away.',
  },
  output_failed: {
    title: 'The output could not be written',
    hint: 'See the cause: make room or mend the permissions, then run again. No half file is left under its name.',
  },
  output_untrusted: {
    exit: 3,
    title: 'An archive object turned out to be damaged after some of it was written',
    hint: 'Throw away what was written to stdout; a file is not made. `node compactor/main.ts verify` names what is damaged.',
  },
  object_not_sealed: {
    title: 'This is not an object of an archive',
    hint: 'Objects end in .jsonl.gz.age or .ids.gz.',
  },
  sealed_unreadable: {
    title: 'A sealed object does not open',
    hint: 'It is damaged, or made for other recipients than the identity given. See the cause.',
  },
  line_too_long: { title: 'A line is longer than any that daybook writes', hint: 'The object is not from daybook.' },
  staging_failed: {
    retry: true,
    title: 'A staging file could not be written',
    hint: 'See the cause: make room under DAYBOOK_DATA_DIR, or mend its permissions. Then run again.',
  },
  // --- the night
  ledger_broken: {
    exit: 3,
    title: 'The ledger of manifests is not whole',
    hint: 'Restore the object named from a copy of the archive. Nothing was written.',
  },
  signer_unknown: {
    exit: 3,
    title: 'A manifest is signed by a key that is not known here',
    hint: 'Add the public key to COMPACTOR_VERIFYING_KEYS if it is one of yours. Nothing was written.',
  },
  signer_retired: {
    exit: 3,
    title: 'A manifest is signed by a key that may not sign it any more',
    hint: 'Once a newer key has signed, an older one signs no more, and COMPACTOR_VERIFYING_KEYS may give a key a range. Find out who still has the old key. To go back to it on purpose, make a new key. Nothing was written.',
  },
  archive_empty: {
    title: 'There is no manifest in this archive',
    hint: 'See whether DAYBOOK_STORE names the right bucket, folder and prefix. A new archive is empty: verify --allow-empty.',
  },
  head_unexpected: {
    title: 'The chain does not hold the manifest that was expected',
    hint: 'Newer manifests were deleted, or this is another archive: restore the missing ones from a copy.',
  },
  replay_failed: {
    title: 'The endpoint of a replay does not take an event',
    hint: 'Look at what it answers, then restore again with the same --resume: what was acknowledged is not sent again.',
  },
  database_failed: {
    title: 'The database of a restore cannot be reached, or refuses',
    hint: 'Look at COMPACTOR_POSTGRES and at what its user may do, then restore again: rows that are there stay.',
  },
  anchor_wrong: {
    title: 'An anchor does not hold',
    hint: 'It was changed, or made by another than the configured witnesses: put it back from a copy. The archive is as its other checks say.',
  },
  anchor_pending: {
    title: 'A witness has not seen the newest manifest yet',
    hint: 'The next run asks again, and its word covers all manifests before. Look at COMPACTOR_TIMESTAMPS and COMPACTOR_WITNESSES where it stays so.',
  },
  anchor_contradicted: {
    exit: 3,
    title: 'A witness knows another history of this archive',
    hint: 'Manifests that it has seen were deleted or replaced, or another archive uses this origin: put them back from a copy.',
  },
  claims_wrong: {
    title: 'A manifest says what its other words, or the manifests before it, contradict',
    hint: 'The signed manifest says it so: a fault in daybook, or another has the signing key. Keep the archive.',
  },
  ledger_behind: {
    exit: 3,
    title: 'The ledger knows less than was archived already',
    hint: 'The newest manifests were deleted: put them back from a copy. Or this is an older copy, or another archive: point DAYBOOK_STORE at the right one, or begin a new one under a new prefix. Nothing was written.',
  },
  clock_untrusted: {
    title: "This machine's clock cannot be right",
    hint: 'Nothing was written or deleted. Let the machine keep its time by NTP, then run again. If the newest manifest itself was made by a clock that was ahead: `run --trust-clock`.',
  },
  manifest_contended: {
    retry: true,
    title: 'Other runs wrote every manifest number first',
    hint: 'The message says to whom. Let one run at a time go on this store and prefix (see other machines, timers and `GET /jobs`). Of several workers give each a COMPACTOR_WORKER of its own, 0/N to N-1/N, and all the same settings. Then run again.',
  },
  workers_late: {
    retry: true,
    title: 'Another worker of this night did not come, or died',
    hint: 'Nothing was written. See why that worker ended (COMPACTOR_WORKER must be 0/N to N-1/N, each once), then run all of them again. If `list` shows the night, it was done without this one.',
  },
  worker_failed: {
    retry: true,
    title: 'Another worker of this night has failed',
    hint: 'Nothing was written. Do what its own error says, then run all workers again.',
  },
  worker_unproven: {
    title: 'What a worker has said is not signed by the key of this one',
    hint: 'Nothing was written. All workers need the same COMPACTOR_SIGNING_KEY. If they have it, somebody else writes to the bucket.',
  },
  object_damaged: {
    exit: 3,
    title: 'An archive object is not the one that its manifest names',
    hint: 'Restore it from a copy of the archive.',
  },
  replica_differs: {
    exit: 3,
    title: 'The replica holds something else than the archive',
    hint: 'Nothing of it was written over. `verify` on each of the two says which one is as its manifests say; mend the other one from it.',
  },
  replica_ahead: {
    exit: 3,
    title: 'The replica has manifests that the archive does not have',
    hint: 'The archive lost its newest manifests, or DAYBOOK_STORE names another one. Stop the nights and find out; to go on from the replica, copy it to a new place (compactor/README.md, A second copy).',
  },
  // --- what verify finds in an archive
  object_misnamed: {
    title: 'An archive object is not named after its content',
    hint: 'It was not written by daybook as it is now. Restore it from a copy of the archive.',
  },
  ids_wrong: {
    title: 'The ids of a part are not those of its events',
    hint: 'The signed manifest names them so: a fault in daybook, or another has the signing key. Keep the archive.',
  },
  id_twice: {
    title: 'An event is archived twice',
    hint: 'The signed manifests name both lines: a fault in daybook, or another has the signing key. Keep the archive.',
  },
  counts_wrong: {
    title: 'The counts of a day do not add up',
    hint: 'The signed manifest says them so: a fault in daybook, or another has the signing key. Keep the archive.',
  },
  content_wrong: {
    title: 'The content of a sealed object is not as the manifest and the format say',
    hint: 'The signed manifest names it so: a fault in daybook, or another has the signing key. Keep the archive.',
  },
  delivery_unproven: {
    title: "A delivery's signature does not hold",
    hint: 'Whoever wrote to the stream did not have the secret, or the file of --secrets has another one under its keyid.',
  },
  prune_wrong: {
    title: 'A manifest prunes what it must not',
    hint: 'The signed manifest says it so: a fault in daybook, or another has the signing key. Keep the archive.',
  },
  stream_hole: {
    title: 'Stream records aged out before they were archived',
    hint: 'What Stripe still lists is recovered; ask the other senders. Raise the retention of the stream.',
  },
  stream_recreated: {
    title: 'A partition of the stream was made again, or put back to an older state',
    hint: 'It was read from its beginning; nothing is archived twice. Find out who did it: what the stream had and no night had archived is gone. What Stripe still lists is recovered; ask the other senders.',
  },
  stream_changed: {
    title: 'The stream is another one than that of the night before',
    hint: 'It is read from its beginning, and the one before no more. Where nobody meant that, see what became of it: of the embedded one, its file. If it is still there, run once with its setting, a day later. Else: what Stripe lists is recovered; ask the other senders.',
  },
  records_quarantined: {
    title: 'Stream records that are not envelopes were put into the quarantine',
    hint: 'Open the quarantine object with a private key: each line has the reason and the record.',
  },
  day_failed: {
    retry: true,
    title: 'A day could not be closed',
    hint: 'Run again; its records are still in the stream.',
  },
  recovered_unpublished: {
    title: 'Recovered events are archived, but not all of them went out to the stream',
    hint: 'The archive is whole, and later runs do not publish them. `node compactor/main.ts restore` can bring them to the stream.',
  },
  copies_differ: {
    title: "Stripe's list tells of an event something else than what was delivered",
    hint: 'Open the exceptions object with a private key: it has both sides. What was delivered is archived. Find out who else can write to the stream.',
  },
  retention_near: {
    title: "A day is about to leave Stripe's list and is not settled",
    hint: 'See why its listing fails (errors of the last runs, the apiKey), or which events are `missing`. After 30 days nobody can ask Stripe any more.',
  },
  day_open: {
    exit: 1,
    title: 'A day is not closed yet',
    hint: 'A UTC day is closed COMPACTOR_LAG_SECONDS after its end.',
  },
  // --- stripe
  stripe_unreachable: {
    retry: true,
    title: "Stripe's API does not answer",
    hint: 'Nothing is lost: what was delivered is archived, and the next run asks again. See STRIPE_API_BASE and status.stripe.com.',
  },
  stripe_answer_malformed: {
    retry: true,
    title: "An answer of Stripe's API is not a list of events",
    hint: 'See whether a proxy stands between, and STRIPE_API_BASE. The next run asks again.',
  },
  stripe_key_refused: {
    title: 'Stripe refuses the API key',
    hint: "The source's apiKey needs read access to events, in the right mode and for every account in `accounts`.",
  },
  stripe_mode_contradicted: {
    title: "The list of the source's key is of the other mode",
    hint: 'Give the source a key of its own mode (sk_live_ or rk_live_, sk_test_ or rk_test_), or mend `mode`. Nothing of that list was archived.',
  },
  delivered_not_listed: {
    title: "Events were delivered that Stripe's list does not have",
    hint: "Compare the account and the mode of the source's key with those of its endpoint: a list that shares little with the deliveries is another account's. The ids are in the archive.",
  },
  account_unlisted: {
    title: 'Events were delivered of an account or a mode that is not listed',
    hint: 'Name the account in `accounts` of the source, or write "all"; a mode needs a source with a key of its own. Until then nobody can say what else of it was not delivered.',
  },
  list_pending: {
    title: 'A list of a source was not asked for all days yet',
    hint: 'See the error of that list in this run. Once it answers, what it has of the last 29 days is added; of days before nobody can ask any more.',
  },
  lost_after_2xx: {
    title: 'Events that Stripe was told are safe have no delivery here',
    hint: 'They are archived from the list. Look for their deliveries in the spool, the quarantine and the holes of the stream, and for a data directory or stream that was put back. If the endpoint was disabled at that time, nothing was lost.',
  },
  stripe_access_refused: {
    title: 'Stripe refuses one account, or thin events, to an API key that it knows',
    hint: 'The apiKey needs read access to that account, or to events of API v2. See `accounts`: an account may have left the platform.',
  },
  stripe_request_refused: {
    title: 'Stripe refuses the request',
    hint: "Look the request up by its id in Stripe's dashboard, under Developers, Logs.",
  },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorCodes;

export interface ErrorOptions {
  /** What happened this time, in a sentence. Never a secret, a key or an expected signature. */
  readonly detail?: string;
  readonly hint?: string;
  readonly retry?: boolean;
  readonly cause?: unknown;
}

/** The one error class: a stable code, whether a repeat may help, what to do about it, and the cause. */
export class DaybookError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly retry: boolean;

  constructor(code: ErrorCode, options: ErrorOptions = {}) {
    const kind: ErrorKind = errorCodes[code];
    super(
      withoutKeys(options.detail ?? kind.title),
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'DaybookError';
    this.code = code;
    this.hint = options.hint ?? kind.hint;
    this.retry = options.retry ?? kind.retry ?? false;
  }
}

export function errorKind(code: ErrorCode): ErrorKind {
  return errorCodes[code];
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorCodes, code);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return withoutKeys(error instanceof Error ? error.message : String(error));
}

/** Stripe's own messages, and those of libraries, quote keys: `Invalid API Key provided: sk_live_…`. */
function withoutKeys(text: string): string {
  return text.replaceAll(/\b((?:sk|rk|pk)_(?:live|test)_|sk_org_(?:live_|test_)?|whsec_)[\w*+/=-]+/g, '$1…');
}

/** A job that reports its own arguments and ends as after a day that is known to be incomplete; `verify` as if all were well. */
const given = process.argv.slice(2);
const replica = { createdAt: '2026-11-20T03:00:00Z' };
const report = given[0] === 'replicate' ? { behind: 2, replica, given } : { manifest: 1, errors: [], given };
process.stdout.write(JSON.stringify(report));
process.exitCode = given[0] === 'verify' ? 0 : 3;

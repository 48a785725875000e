/**
 * The rehearsal of deploy/RUNBOOK.md, The machine is gone: a machine with the embedded stream takes events and is lost
 * with all that is on its disk; the commands of the runbook, as they stand there, bring up another one on the same bucket.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import type { ArchiveList } from '../../compactor/commands/list.ts';
import { newestClosedDay } from '../../compactor/day/closing.ts';
import { developmentValues, makeDevelopmentFiles } from '../../deploy/scripts/development-values.ts';
import { addDays, startOfDayMs } from '../../shared/clock.ts';
import { openStore } from '../../shared/store/open.ts';
import { sendPanda } from '../demo/panda-sender.ts';
import { openPrograms } from '../demo/programs.ts';
import { writeSources } from '../demo/sources-with-key.ts';
import { readText, root } from '../house/source-files.ts';
import { requireCommand } from '../require-service.ts';
import { createBucket } from '../services/s3-buckets.ts';
import { freePorts, startService } from '../services/service.ts';
import { listedCopy, stripeEvents } from '../stripe/events.ts';
import { startFakeStripe } from '../stripe/fake-stripe.ts';
import { sendWebhook } from '../stripe/webhook-sender.ts';

const service = await startService<{ readonly endpoint: string }>('s3.sh');
if (service !== undefined) {
  after(() => service.stop());
  rehearse(service.facts.endpoint);
}

function rehearse(endpoint: string): void {
  test('the machine is gone, the bucket is there: the commands of the runbook bring all back that was promised', async (t) => {
    if (!['age', 'jq'].every((command) => requireCommand(t, command))) return;
    const folder = mkdtempSync(join(tmpdir(), 'daybook disaster-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const [safe, machine] = [join(folder, 'safe'), join(folder, 'machine')];
    const disk = join(machine, 'data');
    const stripe = await startFakeStripe();
    t.after(() => stripe.close());

    // All that is not on the machine: the private keys of the archive and of the backup.
    mkdirSync(safe);
    const [archiveIdentity, backupIdentity] = [join(safe, 'archive.txt'), join(safe, 'backup.txt')];
    const backup = await generateX25519Identity();
    writeFileSync(backupIdentity, `${backup}\n`, { mode: 0o600 });
    const keys = await makeDevelopmentFiles(machine);
    renameSync(keys.identity, archiveIdentity);
    await developmentValues(['DAYBOOK_STREAM_KEY'], machine);
    const secrets = writeSources(keys.sources, join(machine, 'sources.json'));
    const [port, adminPort] = await freePorts(2);
    const params = await createBucket(endpoint);
    const settings = {
      DAYBOOK_DATA_DIR: disk,
      DAYBOOK_SOURCES: join(machine, 'sources.json'),
      DAYBOOK_STREAM_KEY_FILE: join(machine, 'development/stream-key.txt'),
      DAYBOOK_STORE: JSON.stringify({ type: 's3', params }),
      STRIPE_API_BASE: stripe.base.href,
      INGEST_PORT: String(port),
      INGEST_ADMIN_PORT: String(adminPort),
      COMPACTOR_RECIPIENTS: keys.recipient,
      COMPACTOR_SIGNING_KEY_FILE: keys.signingKey,
      COMPACTOR_BACKUP_RECIPIENTS: await identityToRecipient(backup),
    };
    const newest = newestClosedDay(new Date(), 3600);
    const eventsOf = (seed: string, day: string, count: number) =>
      stripeEvents({
        count,
        seed,
        fromSeconds: startOfDayMs(day) / 1000,
        toSeconds: startOfDayMs(addDays(day, 1)) / 1000,
        livemode: false,
      });
    const archived = eventsOf('archived', addDays(newest, -1), 20);
    const onDisk = eventsOf('on the disk alone', newest, 20);
    const refused = eventsOf('sent while nothing answered', newest, 5);
    for (const event of [...archived, ...onDisk, ...refused]) stripe.add(listedCopy(event.text));
    const billing = `{"app":"billing","stage":"PROD","type":"invoice.sent","value":19.90,"eventTime":"${newest}T12:00:00Z"}`;
    const url = new URL(`http://127.0.0.1:${port}`);
    const deliver = async (events: typeof archived) => {
      for (const { text: body } of events) {
        const { status } = await sendWebhook({
          url: new URL('/webhooks/platform', url),
          body,
          secrets: [secrets.platform],
        });
        assert.equal(status, 200);
      }
    };
    const bill = async () => {
      const sent = { url: new URL('/events', url), body: billing, secret: secrets.billing, date: new Date() };
      assert.equal((await sendPanda(sent)).status, 201);
    };

    // The first machine: a night has been, and events have come since.
    mkdirSync(disk);
    const first = openPrograms(disk, settings);
    await first.startIngest();
    await deliver(archived);
    await first.compactor(['backup-secrets']);
    await first.compactor(['run', '--day', addDays(newest, -1)]);
    await deliver(onDisk);
    await bill();
    await first.stopIngest();
    rmSync(machine, { recursive: true });

    // The second machine: daybook as it was installed, an empty disk, and the commands.
    const checkout = join(folder, 'checkout');
    mkdirSync(checkout);
    for (const name of ['ingest', 'compactor', 'shared', 'node_modules', 'package.json']) {
      symlinkSync(join(root, name), join(checkout, name));
    }
    const [, commands] = /^## The machine is gone$[\s\S]*?^```\n([\s\S]*?)^```$/m.exec(readText('deploy/RUNBOOK.md'))!;
    const fetched = join(folder, 'daybook-latest.tar.age');
    const { store } = await openStore({ type: 's3', params }, '');
    writeFileSync(fetched, await buffer(store.read('secrets/daybook-latest.tar.age')));
    await store.close();
    const startedMs = performance.now();
    const { pid, codes, said } = await paste(commands!, checkout, { BACKUP: fetched, BACKUP_IDENTITY: backupIdentity });
    t.after(() => process.kill(pid, 'SIGTERM'));
    const seconds = (performance.now() - startedMs) / 1000;
    t.diagnostic(`running again after ${seconds.toFixed(1)} s of commands`);
    const failed = codes.filter(({ code, line }) => code !== 0 && !line.includes('doctor'));
    assert.deepEqual(failed, [], said);
    assert.match(said, /^OK: 1 manifest/m);
    // Its settings are in the file that came back.
    const second = openPrograms(checkout, {});
    const { days } = await second.compactor<ArchiveList>(['list']);
    const recovered = days.find(({ source, day }) => source === 'platform' && day === newest);
    assert.equal(recovered?.counts.recovered, onDisk.length + refused.length);

    // Who was not answered sends again; so does, told by the runbook, who was answered after the last night.
    await deliver(refused.slice(0, 2));
    await bill();
    await second.compactor(['run']);
    const restored = join(folder, 'restored.jsonl');
    await second.compactor(['restore', '--identity', archiveIdentity, '--output', restored]);
    const ids = readFileSync(restored, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const stripes = ids.filter(({ object }) => object === 'event').map(({ id }) => id as string);
    const expected = [...archived, ...onDisk, ...refused].map(({ id }) => id);
    assert.deepEqual(stripes.toSorted(), expected.toSorted(), 'every event of Stripe’s once');
    assert.equal(ids.length - stripes.length, 1, 'and the one of the sender that was asked');
    await second.compactor(['verify', '--identity', archiveIdentity]);
  });
}

/** Pastes the commands into a shell; tells the exit code of each, and the process that is left in the background. */
async function paste(commands: string, cwd: string, variables: Readonly<Record<string, string>>) {
  const script = commands
    .trim()
    .split('\n')
    .map(
      (line) =>
        `${line}\n${/& +#/.test(line) ? 'echo "pid $!"' : `echo "exit $? "'${line.split(' ').slice(0, 3).join(' ')}'`}`,
    );
  const environment = Object.entries(process.env).filter(([name]) => !/^(?:DAYBOOK|INGEST|COMPACTOR)_/.test(name));
  // A file: what is left in the background would hold a pipe open.
  const output = openSync(join(cwd, 'terminal'), 'w');
  const child = spawn('bash', ['-c', script.join('\n')], {
    cwd,
    env: { ...Object.fromEntries(environment), ...variables },
    stdio: ['ignore', output, output],
  });
  await once(child, 'exit');
  closeSync(output);
  const said = readFileSync(join(cwd, 'terminal'), 'utf8');
  const codes = [...said.matchAll(/^exit (\d+) (.*)$/gm)].map(([, code, line]) => ({
    code: Number(code),
    line: line!,
  }));
  return { pid: Number(/^pid (\d+)$/m.exec(said)?.[1]), codes, said };
}

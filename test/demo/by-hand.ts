/** The commands that do the demo's last steps by hand: with stock tools, and with daybook's own. */
import { join, relative } from 'node:path';
import { shellWord } from '../../shared/program/shell-word.ts';

export interface Paths {
  /** Of this run: the data directory of both programs. */
  readonly run: string;
  readonly identity: string;
  readonly verifyingKey: string;
  readonly sources: string;
  /** Of the newest closed day. */
  readonly part: string;
  readonly manifest: string;
}

export interface ByHand {
  readonly what: string;
  /** Lines for a POSIX shell in the working directory of this process. */
  readonly lines: readonly string[];
}

export function commandsByHand(paths: Paths, source: string, day: string): ByHand[] {
  const [run, identity, verifyingKey, sources, part, manifest] = [
    paths.run,
    paths.identity,
    paths.verifyingKey,
    paths.sources,
    paths.part,
    paths.manifest,
  ].map((path) => shellWord(relative(process.cwd(), path)));
  const body = shellWord(relative(process.cwd(), join(paths.run, 'manifest-body')));
  const signature = shellWord(relative(process.cwd(), join(paths.run, 'manifest-signature')));
  return [
    {
      what: `Open ${source}'s events of ${day}`,
      lines: [`age -d -i ${identity} \\`, `  ${part} | gunzip | jq -c '[.created, .id, .type]'`],
    },
    {
      what: 'Compare their SHA-256 with the one that the manifest says',
      lines: [
        `age -d -i ${identity} \\`,
        `  ${part} | gunzip | sha256sum`,
        `head -n1 ${manifest} | jq -r '.sources.${source}["${day}"].parts[0].sha256.plaintext'`,
      ],
    },
    {
      what: "Check the manifest's signature",
      lines: [
        `head -n1 ${manifest} | tr -d '\\n' >${body}`,
        `tail -n1 ${manifest} | jq -r .signature | base64 -d >${signature}`,
        `openssl pkeyutl -verify -pubin -inkey ${verifyingKey} -rawin -in ${body} -sigfile ${signature}`,
      ],
    },
    {
      what: 'The same and more with daybook: every hash, id, line, count, and every delivery signature',
      lines: [
        `export DAYBOOK_DATA_DIR=${run} COMPACTOR_VERIFYING_KEYS=${verifyingKey}`,
        `node_modules/.bin/node compactor/main.ts verify --identity ${identity} --secrets ${sources}`,
        'node_modules/.bin/node compactor/main.ts list',
      ],
    },
  ];
}

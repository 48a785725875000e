/** Who is logged in, in memory alone: when `serve` starts again everybody logs in again. */
import { randomBytes } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';

/** `acts` may do all that `reads` may. */
export type Role = 'reads' | 'acts';

/** Without a request, and in all. */
const idleMs = 3_600_000;
const longestMs = 12 * 3_600_000;
/** The one that was begun longest ago ends where there are more. */
const maxSessions = 1_000;

export interface Sessions {
  /** What the cookie holds. */
  begin(role: Role): string;
  /** Undefined where there is none, or it has ended. */
  roleOf(id: string): Role | undefined;
  end(id: string): void;
}

export function openSessions(clock: Clock): Sessions {
  const sessions = new Map<string, { readonly role: Role; readonly begunMs: number; seenMs: number }>();
  const now = () => clock.now().getTime();

  return {
    begin(role) {
      const id = newId();
      sessions.set(id, { role, begunMs: now(), seenMs: now() });
      if (sessions.size > maxSessions) sessions.delete(sessions.keys().next().value!);
      return id;
    },
    roleOf(id) {
      const session = sessions.get(id);
      if (session === undefined) return undefined;
      const nowMs = now();
      if (nowMs - session.seenMs >= idleMs || nowMs - session.begunMs >= longestMs) {
        sessions.delete(id);
        return undefined;
      }
      session.seenMs = nowMs;
      return session.role;
    },
    end: (id) => void sessions.delete(id),
  };
}

/** 256 bits: nobody guesses one. */
export function newId(): string {
  return randomBytes(32).toString('base64url');
}

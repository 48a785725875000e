/**
 * node:http and node:https, loaded by whoever first asks or listens, and without undici: who imports a module of Node has all of
 * its names looked up, and three of node:http's (WebSocket and its events) load undici, which nothing here uses: 14 MB, and a
 * quarter of the time in which Node itself starts.
 */

export function nodeHttp(): typeof import('node:http') {
  return process.getBuiltinModule('node:http');
}

export function nodeHttps(): typeof import('node:https') {
  return process.getBuiltinModule('node:https');
}

/**
 * node:http without undici. Who imports a module of Node has all of its names looked up, and three of this one's (WebSocket and
 * its events) load undici, which nothing here uses: 14 MB, and a quarter of the time in which Node itself starts.
 */
export const { Agent, createServer, request, STATUS_CODES } = process.getBuiltinModule('node:http');

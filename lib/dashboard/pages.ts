import { readFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { SeaportError } from '../core/errors.js'
import type { Page } from '../gateway/request-handler.js'
import { FEED_HEADERS, type LiveFeed } from './live-feed.js'

/** As `npm run build` leaves them beside this file. */
const FILES: [path: string, file: string, type: string][] = [
  ['/', 'index.html', 'text/html'],
  ['/-/app.js', 'app.js', 'text/javascript'],
  ['/-/app.css', 'app.css', 'text/css'],
  ['/-/icon.svg', 'icon.svg', 'image/svg+xml']
]

const HEADERS = {
  'Cache-Control': 'no-cache',
  // Services are shown on the same origin, under /role/: their pages cannot be kept off it, but this
  // page loads nothing of theirs, and cannot be framed by them.
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer'
}

/** The pages of the dashboard, by path. What they show comes over the feed. */
export function dashboardPages(feed: LiveFeed): Map<string, Page> {
  const pages = new Map<string, Page>()
  for (const [path, file, type] of FILES) {
    pages.set(path, async (request, response, principal) => {
      // So that a browser asks for a name and password; with none, there would be nothing to see.
      if (principal.isAnonymous && principal.mayReachNothing) {
        throw SeaportError.UNAUTHORIZED('the dashboard needs a name and password, or a token')
      }
      await sendFile(response, file, type, request.method === 'HEAD')
    })
  }
  pages.set('/-/events', (request, response, principal, client) => {
    if (principal.isAnonymous && principal.mayReachNothing) {
      throw SeaportError.UNAUTHORIZED('the feed needs a name and password, or a token')
    }
    // Whoever asks for its head is told at once, and does not watch.
    if (request.method === 'HEAD') response.writeHead(200, FEED_HEADERS).end()
    else feed.attach(response, principal, client)
  })
  return pages
}

async function sendFile(response: ServerResponse, file: string, type: string, isHead: boolean) {
  const bytes = await readFile(new URL(`./app/${file}`, import.meta.url)).catch(() => {
    throw SeaportError.NOT_FOUND('the dashboard was not built; run `npm run build`')
  })
  response.writeHead(200, {
    ...HEADERS,
    'Content-Type': `${type}; charset=utf-8`,
    'Content-Length': bytes.byteLength
  })
  response.end(isHead ? undefined : bytes)
}

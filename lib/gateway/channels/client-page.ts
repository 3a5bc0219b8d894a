import { readFile } from 'node:fs/promises'
import { SeaportError } from '../../core/errors.js'
import type { Page } from '../request-handler.js'

/** The bundled client, which `npm run build` writes. */
const FILE = new URL('../../client/browser.js', import.meta.url)

/**
 * Serves the script that pages connect with. Pages of any origin may load it, because rights are checked when they
 * connect.
 */
export const clientPage: Page = async (request, response) => {
  const bytes = await readFile(FILE).catch(() => {
    throw SeaportError.NOT_FOUND('the client was not built; run `npm run build`')
  })
  response.writeHead(200, {
    'Content-Type': 'text/javascript; charset=utf-8',
    'Content-Length': bytes.byteLength,
    'Cache-Control': 'no-cache',
    'Access-Control-Allow-Origin': '*',
    'Cross-Origin-Resource-Policy': 'cross-origin',
    'X-Content-Type-Options': 'nosniff'
  })
  response.end(request.method === 'HEAD' ? undefined : bytes)
}

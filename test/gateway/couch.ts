import { createHash } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'

interface Document {
  _id: string
  _rev: string
  [field: string]: unknown
}

interface Attachment {
  type: string
  bytes: Buffer
}

/**
 * A database in the manner of CouchDB: documents with revisions over JSON, conflicts, attachments with ranges, a list
 * in chunks, and a feed of changes without end. It answers the same to the same questions.
 */
export class Couch {
  readonly #documents = new Map<string, Document>()
  readonly #attachments = new Map<string, Attachment>()
  readonly #changes = new EventEmitter()
  #seq = 0

  readonly listener = async (request: IncomingMessage, response: ServerResponse) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://couch')
    const [database, id, attachment] = pathname.slice(1).split('/').map(decodeURIComponent)
    response.setHeader('Server', 'CouchDB/3.2.2 (Erlang OTP/23)')
    response.setHeader('X-Couch-Request-ID', this.#seq.toString(16))
    if (!database) return json(response, 200, { couchdb: 'Welcome', version: '3.2.2' })
    if (database === '_session') return this.#login(request, response)
    if (!id) return json(response, 200, { db_name: database, doc_count: this.#documents.size })
    if (id === '_changes') return this.#follow(request, response)
    if (id === '_all_docs') return this.#list(response, searchParams.get('include_docs') === 'true')
    if (id === '_bulk_docs') return this.#bulk(request, response)
    if (attachment) return this.#attachment(request, response, `${id}/${attachment}`)
    return this.#document(request, response, id, searchParams.get('rev'))
  }

  async #document(
    request: IncomingMessage,
    response: ServerResponse,
    id: string,
    rev: string | null
  ) {
    const known = this.#documents.get(id)
    const { method = '', headers } = request
    if (method === 'PUT') {
      const body = await bodyOf(request)
      let document: Record<string, unknown>
      try {
        document = JSON.parse(body.toString())
      } catch {
        return json(response, 400, { error: 'bad_request', reason: 'invalid UTF-8 JSON' })
      }
      if (known && known._rev !== (document._rev ?? headers['if-match'])) return conflict(response)
      return this.#created(response, this.#put(id, document))
    }
    if (!known) return json(response, 404, { error: 'not_found', reason: 'missing' })
    if (method === 'DELETE') {
      if (known._rev !== rev) return conflict(response)
      this.#documents.delete(id)
      return json(response, 200, { ok: true, id, rev })
    }
    if (method === 'COPY') {
      return this.#created(response, this.#put(String(headers.destination), { ...known }))
    }
    response.setHeader('ETag', `"${known._rev}"`)
    if (headers['if-none-match'] === `"${known._rev}"`) return void response.writeHead(304).end()
    return json(response, 200, known, method === 'HEAD')
  }

  #put(id: string, fields: Record<string, unknown>): Document {
    const generation = Number(this.#documents.get(id)?._rev.split('-', 1)[0] ?? 0) + 1
    const hash = createHash('md5').update(JSON.stringify(fields)).digest('hex')
    const document = { ...fields, _id: id, _rev: `${generation}-${hash}` }
    this.#documents.set(id, document)
    this.#changes.emit('change', { seq: ++this.#seq, id, changes: [{ rev: document._rev }] })
    return document
  }

  #created(response: ServerResponse, { _id, _rev }: Document) {
    response.setHeader('Location', `http://couch/db/${encodeURIComponent(_id)}`)
    response.setHeader('ETag', `"${_rev}"`)
    json(response, 201, { ok: true, id: _id, rev: _rev })
  }

  async #bulk(request: IncomingMessage, response: ServerResponse) {
    const { docs } = JSON.parse((await bodyOf(request)).toString()) as { docs: Document[] }
    const rows = docs.map((document) => this.#put(document._id, document))
    json(
      response,
      201,
      rows.map(({ _id, _rev }) => ({ ok: true, id: _id, rev: _rev }))
    )
  }

  /** Row by row, as it reads them. */
  #list(response: ServerResponse, isWhole: boolean) {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' })
    response.write(`{"total_rows":${this.#documents.size},"rows":[\r\n`)
    let separator = ''
    for (const [id, document] of [...this.#documents].sort()) {
      const row = {
        id,
        key: id,
        value: { rev: document._rev },
        ...(isWhole ? { doc: document } : {})
      }
      response.write(`${separator}${JSON.stringify(row)}`)
      separator = ',\r\n'
    }
    response.end('\r\n]}\n')
  }

  /** A line for each change, until the client has enough. */
  #follow(request: IncomingMessage, response: ServerResponse) {
    response.writeHead(200, { 'Content-Type': 'application/json' })
    // The heartbeat.
    response.write('\n')
    const onchange = (change: unknown) => response.write(`${JSON.stringify(change)}\n`)
    this.#changes.on('change', onchange)
    request.on('close', () => {
      this.#changes.off('change', onchange)
      this.#changes.emit('left')
    })
  }

  /** Resolves when the next one who followed has left. */
  left(): Promise<void> {
    return new Promise((resolve) => this.#changes.once('left', resolve))
  }

  async #attachment(request: IncomingMessage, response: ServerResponse, name: string) {
    if (request.method === 'PUT') {
      const bytes = await bodyOf(request)
      this.#attachments.set(name, { type: request.headers['content-type'] ?? '', bytes })
      return json(response, 201, { ok: true, length: bytes.byteLength })
    }
    const known = this.#attachments.get(name)
    if (!known) return json(response, 404, { error: 'not_found', reason: 'no attachment' })
    const { type, bytes } = known
    const headers = {
      'Accept-Ranges': 'bytes',
      'Content-Type': type,
      'Content-MD5': createHash('md5').update(bytes).digest('base64')
    }
    const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? '') ?? []
    if (from === undefined || to === undefined) {
      return void response
        .writeHead(200, { ...headers, 'Content-Length': bytes.byteLength })
        .end(bytes)
    }
    const size = bytes.byteLength
    const start = from === '' ? size - Number(to) : Number(from)
    const end = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1)
    if (start > end || start >= size) {
      return void response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end()
    }
    const part = bytes.subarray(start, end + 1)
    response.writeHead(206, {
      ...headers,
      'Content-Range': `bytes ${start}-${end}/${size}`,
      'Content-Length': part.byteLength
    })
    response.end(part)
  }

  async #login(request: IncomingMessage, response: ServerResponse) {
    const form = new URLSearchParams((await bodyOf(request)).toString())
    if (request.method === 'GET') {
      const isKnown = request.headers.cookie?.includes('AuthSession=YWRh') ?? false
      return json(response, 200, { ok: true, userCtx: { name: isKnown ? 'ada' : null } })
    }
    if (form.get('password') !== 'lovelace') {
      return json(response, 401, {
        error: 'unauthorized',
        reason: 'Name or password is incorrect.'
      })
    }
    response.setHeader('Set-Cookie', 'AuthSession=YWRh; Version=1; Path=/; HttpOnly')
    json(response, 200, { ok: true, name: 'ada' })
  }
}

function conflict(response: ServerResponse) {
  json(response, 409, { error: 'conflict', reason: 'Document update conflict.' })
}

function json(response: ServerResponse, status: number, value: unknown, isHead = false) {
  const body = `${JSON.stringify(value)}\n`
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'must-revalidate'
  })
  response.end(isHead ? undefined : body)
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

import { randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { makeFolder, userDir } from '../lib/folders.js'
import { SeaportError } from '../lib/identity.js'
import { waitAloud } from './talk.js'

const LOOPBACK = '127.0.0.1'
const OWNER_ONLY = 0o600
const MAX_CLIENTS = 16
/** How long a client may take to say the secret, in ms. */
const SECRET_TIMEOUT_MS = 3000
const MAX_LINE = 128 * 1024
/** How long a peer may take to close when a prompt leaves, in ms: one that is frozen never does. */
const LEAVE_GRACE_MS = 500

/** What a client says, a line at a time. */
type Execute = (line: string, print: (text: string) => void) => Promise<'exit' | 'detach' | null>

/**
 * Lets prompts in other terminals of this user command a peer, by TCP on loopback. The first line that a client says is a secret
 * that a file has which only this user can read; so no page in a browser, and no other user, gets any further.
 */
export class Control {
  readonly #execute: Execute
  readonly #clients = new Set<Socket>()
  readonly #server = createServer((socket) => this.#take(socket))
  #secret = Buffer.alloc(0)
  #file = ''

  constructor(execute: Execute) {
    this.#execute = execute
  }

  /** @throws PORT_IN_USE, STORAGE_FAILED */
  async open(port: number): Promise<number> {
    this.#server.listen(port, LOOPBACK)
    try {
      await once(this.#server, 'listening')
    } catch (cause) {
      throw SeaportError.PORT_IN_USE(
        `port ${port} of ${LOOPBACK} cannot be listened on (${(cause as NodeJS.ErrnoException).code}); choose another --control`,
        cause
      )
    }
    const address = this.#server.address()
    const bound = typeof address === 'object' && address ? address.port : port
    this.#secret = Buffer.from(randomBytes(32).toString('hex'))
    this.#file = secretFile(bound)
    try {
      await makeFolder(userDir())
      rmSync(this.#file, { force: true })
      writeFileSync(this.#file, this.#secret, { mode: OWNER_ONLY, flag: 'wx' })
    } catch (cause) {
      throw SeaportError.STORAGE_FAILED(
        `${this.#file} cannot be written (${(cause as NodeJS.ErrnoException).code}); let this user write there, or name another folder by XDG_DATA_HOME`,
        cause
      )
    }
    return bound
  }

  /** Tells all who are attached. */
  tell(text: string) {
    for (const socket of this.#clients) socket.write(`${text}\n`)
  }

  async destroy() {
    for (const socket of this.#clients) socket.end()
    if (this.#file) removeSecret(this.#file)
    if (!this.#server.listening) return
    this.#server.close()
    await Promise.race([once(this.#server, 'close'), once(AbortSignal.timeout(500), 'abort')])
    for (const socket of this.#clients) socket.destroy()
  }

  /** Never throws. */
  #take(socket: Socket): void {
    socket.on('error', () => {})
    if (this.#clients.size >= MAX_CLIENTS) return void socket.destroy()
    const timer = setTimeout(() => socket.destroy(), SECRET_TIMEOUT_MS)
    let isLetIn = false
    let rest = ''
    let last: Promise<unknown> = Promise.resolve()
    const onLine = (line: string): void => {
      if (!isLetIn) {
        isLetIn = isSame(Buffer.from(line), this.#secret)
        clearTimeout(timer)
        if (!isLetIn) return void socket.destroy()
        this.#clients.add(socket)
        return void socket.write('attached\n')
      }
      last = last.then(() => this.#run(line, socket))
    }
    socket.setEncoding('utf8')
    socket.on('data', (text: string): void => {
      rest += text
      const lines = rest.split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > MAX_LINE) return void socket.destroy()
      for (const line of lines) onLine(line)
    })
    socket.on('close', () => {
      clearTimeout(timer)
      this.#clients.delete(socket)
    })
  }

  async #run(line: string, socket: Socket) {
    const outcome = await this.#execute(line, (text) => socket.write(`${text}\n`))
    if (outcome !== null) socket.end()
  }
}

/**
 * Is the prompt of a peer that runs elsewhere on this machine, until either side ends.
 *
 * @throws USAGE, STORAGE_FAILED, LINK_LOST
 */
export async function attach(address: string, signal: AbortSignal, print: (text: string) => void) {
  const [, host, port] = /^(127\.0\.0\.1|localhost):(\d{1,5})$/.exec(address) ?? []
  if (!host || !port) {
    throw SeaportError.USAGE('--attach takes an address of this machine, as in 127.0.0.1:8080')
  }
  let secret: string
  try {
    secret = readFileSync(secretFile(Number(port)), 'utf8')
  } catch (cause) {
    throw SeaportError.LINK_LOST(
      `no peer of this user runs with --control ${port} on this machine`,
      cause
    )
  }
  const socket = connect(Number(port), LOOPBACK)
  const closed = new Promise<void>((resolve, reject) => {
    socket.on('error', (cause) => {
      reject(SeaportError.LINK_LOST(`the peer at ${address} does not answer`, cause))
    })
    socket.on('close', () => resolve())
  })
  closed.catch(() => {})
  socket.write(`${secret}\n`)
  const lines = createInterface({ input: socket, crlfDelay: Infinity }).on('line', print)
  const input = createInterface({ input: process.stdin, prompt: '@> ' })
  const silence = () => `the peer at ${address} does not answer; it is busy, or suspended`
  let isAwaited = false
  const awaitAnswer = async () => {
    if (isAwaited) return
    isAwaited = true
    await waitAloud(Promise.race([once(lines, 'line'), closed]), silence).catch(() => {})
    isAwaited = false
  }
  input.on('line', (line) => {
    socket.write(`${line}\n`)
    if (line.trim() !== '') void awaitAnswer()
  })
  input.on('close', () => {
    socket.write('detach\n')
    void awaitAnswer()
  })
  let grace: NodeJS.Timeout | undefined
  const leave = () => {
    socket.end('detach\n')
    grace = setTimeout(() => socket.destroy(), LEAVE_GRACE_MS)
  }
  signal.addEventListener('abort', leave, { once: true })
  try {
    await awaitAnswer()
    await closed
  } finally {
    clearTimeout(grace)
    input.close()
  }
}

/** One that stays, as in a folder that may not be written any more, opens nothing: nobody listens for it. */
function removeSecret(file: string) {
  try {
    rmSync(file, { force: true })
  } catch {}
}

function secretFile(port: number): string {
  return join(userDir(), `control-${port}`)
}

function isSame(one: Buffer, other: Buffer): boolean {
  return one.byteLength === other.byteLength && timingSafeEqual(one, other)
}

import type { Socket } from 'node:net'
import type { Signal } from '../../core/abort.js'
import { SeaportError } from '../../core/errors.js'
import { limitFrames } from '../../core/frame-limit.js'
import { type Address, SecretStream } from '../../core/holepunch.js'
import type { KeyPair } from '../../core/keys.js'
import { MAX_MESSAGE_BYTES } from '../frames.js'
import { adopt, tcpSocket } from './tcp-socket.js'

/**
 * The direct path: the same encrypted connection as over HyperDHT, on a TCP socket.
 *
 *     consumer (process key)                service (service key)
 *       ── IK message 1: 96 bytes ─────────────▶   readable with the service's key only
 *       ◀───────────────────── IK message 2 ──   by now the consumer knows whom it talks to
 *       ── the first message of its link ──────▶   by now the service does, too
 *
 * An address in a record is a claim, and may lead to anybody. So message 1 tells nothing to a listener that does
 * not hold the service's key: it names the consumer to that key only, and to all others its bytes are random, so
 * that no other protocol can be spoken through it. A service, in turn, does not answer a caller that does not know
 * its key. Whoever overheard message 1 can repeat it. So the service counts a connection only when something came
 * on it that only the holder of the consumer's key can have sent.
 */
const PATTERN = 'IK'
/** An ephemeral key, a static key and two authenticators, after a length of 3 bytes. */
const FIRST_MESSAGE_BYTES = 32 + (32 + 16) + 16
const LENGTH_BYTES = 3
/** After so many idle ms the kernel asks whether the other machine is still there. An idle link costs little else. */
const KEEP_ALIVE_MS = 30_000

export interface ConnectDirectOptions {
  /** The service's; whoever has not its secret key is refused. */
  remotePublicKey: Buffer
  /** The consumer's. */
  keyPair: KeyPair
  /** In ms. */
  timeout: number
  signal: Signal
}

/**
 * Connects to a service at an address.
 *
 * @throws LINK_LOST, or the signal's reason
 */
export function connectDirect(
  { host, port }: Address,
  { remotePublicKey, keyPair, timeout, signal }: ConnectDirectOptions
): Promise<SecretStream> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const socket = tcpSocket()
    socket.connect({ host, port })
    tune(socket)
    const connection = new SecretStream(true, socket, {
      pattern: PATTERN,
      keyPair,
      remotePublicKey
    })
    // Whoever answers at the address has proven nothing yet.
    socket.once('connect', () => limitFrames(connection, MAX_MESSAGE_BYTES))
    const settle = (end: () => void) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onabort)
      connection.off('connect', onconnect)
      connection.off('close', onclose)
      end()
    }
    const fail = (reason: unknown) => {
      settle(() => reject(reason))
      connection.destroy()
    }
    let cause: NodeJS.ErrnoException | null = null
    const lost = (why: string) => SeaportError.LINK_LOST(`${host}:${port} ${why}`, cause)
    const onconnect = () => settle(() => resolve(connection))
    const onclose = () => fail(lost(cause?.code ?? 'hung up'))
    const onabort = () => fail(signal.reason)
    const timer = setTimeout(() => fail(lost(`did not answer within ${timeout} ms`)), timeout)
    signal.addEventListener('abort', onabort)
    connection.on('error', (error: Error) => {
      cause ??= error
    })
    connection.on('connect', onconnect)
    connection.on('close', onclose)
  })
}

/**
 * Takes a connection to the service whose key pair this is. Resolves when the remote key is proven. It waits for as
 * long as the socket is open; the caller bounds that time.
 *
 * @throws LINK_LOST
 */
export async function acceptDirect(socket: Socket, keyPair: KeyPair): Promise<SecretStream> {
  tune(socket)
  // This comes before the connection reads, which would reserve memory for any length that is announced to it.
  await readable(socket, () => isFirstMessage(socket))
  const connection = new SecretStream(false, adopt(socket), { pattern: PATTERN, keyPair })
  limitFrames(connection, MAX_MESSAGE_BYTES)
  connection.on('error', () => {})
  await readable(connection, () => true)
  return connection
}

/** Whether what a socket brought looks like message 1; null if too little came yet. It takes nothing off the socket. */
function isFirstMessage(socket: Socket): boolean | null {
  const head: Buffer | null = socket.read(LENGTH_BYTES + FIRST_MESSAGE_BYTES)
  if (head === null) return null
  socket.unshift(head)
  return (
    head.byteLength === LENGTH_BYTES + FIRST_MESSAGE_BYTES &&
    head.readUIntLE(0, LENGTH_BYTES) === FIRST_MESSAGE_BYTES
  )
}

/** Waits until a stream has something to read, and it is what it should be. */
function readable(stream: Socket | SecretStream, check: () => boolean | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void) => {
      stream.off('readable', onreadable)
      stream.off('close', onclose)
      end()
    }
    const onclose = () => settle(() => reject(SeaportError.LINK_LOST('it hung up')))
    const onreadable = () => {
      const isRight = check()
      if (isRight) settle(resolve)
      else if (isRight === false) settle(() => reject(SeaportError.LINK_LOST('no handshake')))
    }
    stream.on('readable', onreadable)
    stream.on('close', onclose)
  })
}

function tune(socket: Socket) {
  socket.setNoDelay(true)
  socket.setKeepAlive(true, KEEP_ALIVE_MS)
}

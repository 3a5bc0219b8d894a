import { SeaportError } from '../errors.js'
import { crypto, type SecretStream } from '../holepunch.js'

/**
 * The first message each way on every swarm connection:
 *
 *     A ── hello: hash(type, registry public key, handshake hash, side) ──▶ B
 *     A ◀── the same, of the other side ───────────────────────────────────  B
 *
 * It proves knowledge of the registry's public key without showing it, and is worthless on any other
 * connection. Until it came nothing else is sent or read, so who merely saw the topic on the DHT
 * learns nothing and reaches no other code of ours. A wrong one is answered with a code.
 */
const HELLO_TYPE = Buffer.from('hyperseaport/hello/1')
const HELLO = 1
const DENIED = 2
const HELLO_BYTES = 33
const MAX_DENIAL_BYTES = 256
const HELLO_TIMEOUT_MS = 5000
/** How long a denial may take to reach the other side before the connection is cut. */
const DENIAL_LINGER_MS = 1000

export interface HelloOptions {
  /** Runs in the same tick in which the other side's proof arrived, before anything that follows it. */
  onhello: () => void
  /** The other side has no proof, or denied ours. The connection is being closed. */
  ondenied: (reason: SeaportError) => void
  timeout?: number
}

/** Says hello and waits for the other side's. */
export function exchangeHello(
  connection: SecretStream,
  registry: Buffer,
  { onhello, ondenied, timeout = HELLO_TIMEOUT_MS }: HelloOptions
): void {
  const timer = setTimeout(() => {
    settle()
    connection.destroy(SeaportError.NOT_A_MEMBER('no hello came'))
  }, timeout)
  const settle = () => {
    clearTimeout(timer)
    connection.off('data', ondata)
    connection.off('close', settle)
  }
  const ondata = (frame: Buffer) => {
    if (frame.byteLength === 0) return
    settle()
    const reason = readHello(frame, proof(connection, registry, !connection.isInitiator))
    if (reason === null) return onhello()
    connection.pause()
    if (frame[0] === HELLO) deny(connection, reason)
    else connection.destroy()
    ondenied(reason)
  }

  connection.on('data', ondata)
  connection.on('close', settle)
  connection.write(
    Buffer.concat([Buffer.of(HELLO), proof(connection, registry, connection.isInitiator)])
  )
}

function proof(connection: SecretStream, registry: Buffer, byInitiator: boolean): Buffer {
  return crypto.hash([
    HELLO_TYPE,
    registry,
    connection.handshakeHash,
    Buffer.of(byInitiator ? 1 : 0)
  ])
}

function readHello(frame: Buffer, expected: Buffer): SeaportError | null {
  if (frame[0] === HELLO && frame.byteLength === HELLO_BYTES && frame.subarray(1).equals(expected))
    return null
  if (frame[0] === DENIED && frame.byteLength <= MAX_DENIAL_BYTES) {
    return SeaportError.remote(frame.subarray(1).toString(), 'a peer turned our hello down')
  }
  return SeaportError.NOT_A_MEMBER('a peer on our topic does not know the registry')
}

function deny(connection: SecretStream, reason: SeaportError) {
  connection.write(Buffer.concat([Buffer.of(DENIED), Buffer.from(reason.code)]))
  connection.end()
  const timer = setTimeout(() => connection.destroy(), DENIAL_LINGER_MS)
  connection.on('close', () => clearTimeout(timer))
}

import { SeaportError } from '../../core/errors.js'
import { limitFrames } from '../../core/frame-limit.js'
import { crypto, type SecretStream } from '../../core/holepunch.js'
import { MAX_CREDENTIALS_BYTES } from './membership.js'

/**
 * What is said first, each way, on every swarm connection:
 *
 *     A ── hello: hash(type, registry public key, handshake hash, side) ──▶ B
 *     A ◀───────────────────────── the same, of the other side ──────────── B
 *     A ── credentials: which keys and grants stand behind it ────────────▶ B
 *     A ◀───────────────────────── the same, of the other side ──────────── B
 *     A ◀──────────── welcome, or denied with a code, each way ───────────▶ B
 *
 * The hello proves knowledge of the registry's public key without showing it, and is worthless on any
 * other connection. Until it came nothing else is sent or read, so who merely saw the topic on the DHT
 * learns nothing and reaches no other code of ours. A wrong one, or credentials that do not suffice,
 * is answered with a code.
 */
const HELLO_TYPE = Buffer.from('hyperseaport/hello/1')
const HELLO = 1
const DENIED = 2
const CREDENTIALS = 3
const WELCOME = 4
const NOTHING = Buffer.alloc(0)
const MAX_DENIAL_BYTES = 256
/** The longest of these messages: credentials, and one byte that says what they are. */
const MAX_FRAME_BYTES = 1 + MAX_CREDENTIALS_BYTES
const HELLO_TIMEOUT_MS = 5000
/**
 * How long a caller may take for its first word. It may be gone: a call waits in the socket while a process sleeps,
 * and is taken when it wakes, and Hyperswarm wants no second connection to the same peer until then.
 */
const FIRST_WORD_TIMEOUT_MS = 1500
/** How long a denial may take to reach the other side before the connection is cut. */
const DENIAL_LINGER_MS = 1000

export interface HelloOptions {
  /** What goes to who has proven to know the registry. */
  credentials?: () => Buffer
  /** Checks the other side's credentials. What it throws, the other side is denied with. */
  admit?: (credentials: Buffer) => void
  /** Runs in the same tick in which the other side's welcome arrived, before anything that follows it. */
  onhello: () => void
  /**
   * One side denied the other. The connection is being closed. A denial by the other side counts only after its
   * hello: before, it is a stranger's, and is reported as one.
   */
  ondenied: (reason: SeaportError, byRemote: boolean) => void
  timeout?: number
}

/** Says hello and waits for the other side's. */
export function exchangeHello(
  connection: SecretStream,
  registry: Buffer,
  {
    credentials = () => NOTHING,
    admit = () => {},
    onhello,
    ondenied,
    timeout = HELLO_TIMEOUT_MS
  }: HelloOptions
): void {
  const steps: { kind: number; take: (body: Buffer) => void }[] = [
    {
      kind: HELLO,
      take: (body) => {
        checkProof(connection, registry, body)
        send(connection, CREDENTIALS, credentials())
      }
    },
    {
      kind: CREDENTIALS,
      take: (body) => {
        admit(body)
        send(connection, WELCOME, NOTHING)
      }
    },
    {
      kind: WELCOME,
      take: () => {
        settle()
        onhello()
      }
    }
  ]
  const expire = () => {
    settle()
    connection.destroy(SeaportError.NOT_A_MEMBER('no hello came'))
  }
  const timer = setTimeout(expire, timeout)
  const firstWord = connection.isInitiator ? undefined : setTimeout(expire, FIRST_WORD_TIMEOUT_MS)
  const settle = () => {
    clearTimeout(timer)
    clearTimeout(firstWord)
    connection.off('data', ondata)
    connection.off('close', settle)
  }
  const ondata = (frame: Buffer) => {
    if (frame.byteLength === 0) return
    clearTimeout(firstWord)
    const step = steps.shift()
    if (!step) return
    const byRemote = step.kind !== HELLO && frame[0] === DENIED
    try {
      step.take(byRemote ? readDenial(frame) : readFrame(frame, step.kind))
    } catch (error) {
      settle()
      const reason = error instanceof SeaportError ? error : SeaportError.BAD_MESSAGE(String(error))
      connection.pause()
      if (byRemote) connection.destroy()
      else deny(connection, reason)
      ondenied(reason, byRemote)
    }
  }

  limitFrames(connection, MAX_FRAME_BYTES)
  connection.on('data', ondata)
  connection.on('close', settle)
  send(connection, HELLO, proof(connection, registry, connection.isInitiator))
}

function send(connection: SecretStream, kind: number, body: Buffer) {
  connection.write(Buffer.concat([Buffer.of(kind), body]))
}

function proof(connection: SecretStream, registry: Buffer, byInitiator: boolean): Buffer {
  const side = Buffer.of(byInitiator ? 1 : 0)
  return crypto.hash([HELLO_TYPE, registry, connection.handshakeHash, side])
}

function checkProof(connection: SecretStream, registry: Buffer, theirs: Buffer) {
  if (theirs.equals(proof(connection, registry, !connection.isInitiator))) return
  throw SeaportError.NOT_A_MEMBER('a peer on our topic does not know the registry')
}

/** @throws NOT_A_MEMBER */
function readFrame(frame: Buffer, expected: number): Buffer {
  if (frame[0] === expected) return frame.subarray(1)
  throw SeaportError.NOT_A_MEMBER('a peer on our topic does not know the registry')
}

/** @throws what the other side denied us with, NOT_A_MEMBER if that cannot be read */
function readDenial(frame: Buffer): never {
  const body = frame.subarray(1)
  if (body.byteLength > MAX_DENIAL_BYTES) {
    throw SeaportError.NOT_A_MEMBER('a peer denied us in more words than it may')
  }
  const [, code = '', text = ''] = /^([A-Z_]*)(?:: )?(.*)$/s.exec(body.toString()) ?? []
  throw SeaportError.remote(code, text || 'a peer turned our hello down')
}

/** Denies who is not even asked for its hello. It gets ours, so that our denial counts with it. */
export function turnAway(connection: SecretStream, registry: Buffer, reason: SeaportError) {
  send(connection, HELLO, proof(connection, registry, connection.isInitiator))
  deny(connection, reason)
}

/** Ends a connection with a code. */
function deny(connection: SecretStream, reason: SeaportError) {
  send(connection, DENIED, Buffer.from(reason.message).subarray(0, MAX_DENIAL_BYTES))
  connection.end()
  const timer = setTimeout(() => connection.destroy(), DENIAL_LINGER_MS)
  connection.on('close', () => clearTimeout(timer))
}

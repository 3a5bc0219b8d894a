import { SeaportError } from '../../core/errors.js'
import { messageOf, ownError } from '../../core/thrown.js'
import { type Body, decodeBody, encodeBody, NO_BODY } from '../body.js'
import type { AnswerHead, MessageHead } from './channel-frames.js'
import type { GatewayStream } from './gateway-stream.js'
import type { Ticket } from './ticket.js'

/** One session of a client, that is one connected page. A client may have several of them. */
export interface Client {
  id: string
  session: string
  /** The data that the `connect` handler returned for it. */
  data: unknown
  /** The rooms that it is in. */
  readonly rooms: ReadonlySet<string>
  join(room: string): void
  leave(room: string): void
}

export interface ClientSessionOptions {
  /** Handles what the client says. The client is told what it throws. */
  handle: (head: MessageHead, data: unknown, client: Client) => unknown
  onroom: (session: ClientSession, name: string, isIn: boolean) => void
}

interface Answer {
  head: AnswerHead
  body: Body
}

/** How many answers are kept for a client that has not acknowledged them. */
const MAX_ANSWERS = 1000
const MAX_ANSWER_BYTES = 1024 * 1024
const MAX_ROOMS = 100
const MAX_ROOM_BYTES = 128

/** A session of a client, at an instance. It handles each numbered message once. */
export class ClientSession implements Client {
  readonly session: string
  readonly id: string
  ticket: Ticket
  /** The stream of the gateway that it is connected to; null while it is away. */
  stream: GatewayStream | null = null
  /** Ends the session if it does not come back in time. */
  timer: NodeJS.Timeout | null = null
  readonly rooms = new Set<string>()
  /** How many changes of its rooms this gateway was sent. */
  roomChanges = 0
  readonly #options: ClientSessionOptions
  /** The answers by number; null while the handler runs. */
  readonly #answers = new Map<number, Answer | null>()
  #answerBytes = 0
  /** The client has acknowledged the answers up to this number. */
  #answered = 0

  constructor(ticket: Ticket, options: ClientSessionOptions) {
    this.session = ticket.session
    this.id = ticket.id
    this.ticket = ticket
    this.#options = options
  }

  get data(): unknown {
    return this.ticket.data
  }

  /** @throws USAGE if the name is not valid, LIMIT_REACHED */
  join(room: string) {
    if (!isRoom(room)) {
      throw SeaportError.USAGE(`a room has a name of 1 to ${MAX_ROOM_BYTES} bytes`)
    }
    if (this.rooms.has(room)) return
    if (this.rooms.size >= MAX_ROOMS) {
      throw SeaportError.LIMIT_REACHED(`a session is in at most ${MAX_ROOMS} rooms`)
    }
    this.rooms.add(room)
    this.roomChanges++
    this.#options.onroom(this, room, true)
  }

  leave(room: string) {
    if (!this.rooms.delete(room)) return
    this.roomChanges++
    this.#options.onroom(this, room, false)
  }

  /**
   * Takes the rooms that its gateway says it is in, since other instances change them as well.
   *
   * @returns those that it has joined or left by that
   */
  setRooms(rooms: unknown): string[] {
    if (!Array.isArray(rooms)) return []
    const next = new Set(rooms.filter(isRoom).slice(0, MAX_ROOMS) as string[])
    const changed = [...this.rooms].filter((room) => !next.has(room))
    for (const room of next) if (!this.rooms.has(room)) changed.push(room)
    this.rooms.clear()
    for (const room of next) this.rooms.add(room)
    return changed
  }

  /** Handles a message of the client, once. Never throws. */
  take(head: MessageHead, body: Body) {
    const { n } = head
    this.#forget(head.answered)
    if (n <= this.#answered) return
    const known = this.#answers.get(n)
    if (known) return this.#tell(known)
    if (known === null) return
    if (this.#answers.size >= MAX_ANSWERS) {
      const text = `${MAX_ANSWERS} messages of this session wait for their answer to be heard`
      return this.#tell(this.#failure(n, SeaportError.BUSY(text)))
    }
    this.#answers.set(n, null)
    void this.#handle(head, body)
  }

  async #handle(head: MessageHead, body: Body) {
    const answer = await this.#answerTo(head, body)
    if (this.#answers.has(head.n)) this.#keep(answer)
    this.#tell(answer)
  }

  async #answerTo(head: MessageHead, body: Body): Promise<Answer> {
    const { n } = head
    try {
      const value = await this.#options.handle(head, decodeBody(body), this)
      const answer = encodeBody(value)
      if (answer.bytes.byteLength > MAX_ANSWER_BYTES) {
        throw SeaportError.TOO_LARGE(`an answer has at most ${MAX_ANSWER_BYTES} bytes`)
      }
      return { head: { t: 'answer', session: this.session, n }, body: answer }
    } catch (error) {
      return this.#failure(n, error)
    }
  }

  #failure(n: number, error: unknown): Answer {
    const { code, text } = ownError(error) ?? SeaportError.COMMAND_FAILED(messageOf(error))
    return { head: { t: 'answer', session: this.session, n, code, text }, body: NO_BODY }
  }

  #tell({ head, body }: Answer) {
    this.stream?.send(head, body)
  }

  #keep(answer: Answer) {
    this.#answers.set(answer.head.n, answer)
    this.#answerBytes += answer.body.bytes.byteLength
    for (const [n, kept] of this.#answers) {
      if (this.#answerBytes <= MAX_ANSWER_BYTES) break
      if (!kept || kept === answer) continue
      this.#answerBytes -= kept.body.bytes.byteLength
      const text = 'it was handled, but its answer was too large to be kept'
      this.#answers.set(n, this.#failure(n, SeaportError.LINK_LOST(text)))
    }
  }

  #forget(answered: number) {
    if (answered <= this.#answered) return
    this.#answered = answered
    for (const [n, kept] of this.#answers) {
      if (n > answered) continue
      this.#answers.delete(n)
      this.#answerBytes -= kept?.body.bytes.byteLength ?? 0
    }
  }
}

/** Its name counts as it is written in JSON, so that the names of all rooms of a session fit into one frame. */
function isRoom(name: unknown): boolean {
  if (typeof name !== 'string' || name === '') return false
  return Buffer.byteLength(JSON.stringify(name)) - '""'.length <= MAX_ROOM_BYTES
}

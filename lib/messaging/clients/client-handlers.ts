import { SeaportError } from '../../core/errors.js'
import { messageOf } from '../../core/thrown.js'
import type { Client } from './client-session.js'
import type { ClientAct, ClientsListeners } from './client-types.js'

/** Events that have one handler, whose result is the answer. */
const ANSWERED: ReadonlySet<keyof ClientsListeners> = new Set(['connect', 'message'])

/** Those who handle what browsers do. */
export class ClientHandlers {
  readonly #onnotice: (notice: SeaportError) => void
  /** Who may do something to other clients. */
  readonly #allowed = new Map<ClientAct, (client: Client) => boolean>()
  readonly #listeners: { [E in keyof ClientsListeners]?: ClientsListeners[E][] } = {}

  constructor(onnotice: (notice: SeaportError) => void) {
    this.#onnotice = onnotice
  }

  /** @throws USAGE if the event is answered by another handler already */
  add<E extends keyof ClientsListeners>(event: E, listener: ClientsListeners[E]) {
    const listeners = this.#of(event)
    if (ANSWERED.has(event) && listeners.length > 0) {
      throw SeaportError.USAGE(`${event} is handled already, and has one answer`)
    }
    Object.assign(this.#listeners, { [event]: [...listeners, listener] })
  }

  /** Whether a page is admitted, and as whom; undefined if nobody decides that. */
  get admit(): ClientsListeners['connect'] | undefined {
    return this.#of('connect')[0]
  }

  /** @throws UNKNOWN_COMMAND, and what the handler throws */
  answer(...said: Parameters<ClientsListeners['message']>): unknown {
    const [handler] = this.#of('message')
    if (!handler) throw SeaportError.UNKNOWN_COMMAND('this service takes no messages')
    return handler(...said)
  }

  allow(act: ClientAct, may: (client: Client) => boolean) {
    this.#allowed.set(act, may)
  }

  allows(act: ClientAct): boolean {
    return this.#allowed.has(act)
  }

  /** @throws NOT_ALLOWED */
  checkAllowed(act: ClientAct, client: Client) {
    if (this.#allowed.get(act)?.(client)) return
    throw SeaportError.NOT_ALLOWED(`clients of this service may not ${act}`)
  }

  /** Tells all listeners. What one throws is a notice, and the others still hear it. */
  emit<E extends Exclude<keyof ClientsListeners, 'connect' | 'message'>>(
    event: E,
    told: Parameters<ClientsListeners[E]>[0]
  ) {
    for (const listener of this.#of(event) as ((told: unknown) => void)[]) {
      try {
        listener(told)
      } catch (error) {
        const text = `a listener to clients has thrown: ${messageOf(error)}`
        this.#onnotice(SeaportError.COMMAND_FAILED(text, error))
      }
    }
  }

  #of<E extends keyof ClientsListeners>(event: E): ClientsListeners[E][] {
    return (this.#listeners[event] ?? []) as ClientsListeners[E][]
  }
}

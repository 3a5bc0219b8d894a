import { SeaportError } from '../../core/errors.js'
import type { ClientsListeners } from './client-types.js'

/** Events that have one handler, whose result is the answer. */
const ANSWERED: ReadonlySet<keyof ClientsListeners> = new Set(['connect', 'message'])

/** Those who handle what browsers do. */
export class ClientHandlers {
  readonly #onnotice: (notice: SeaportError) => void
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

  /** The one that answers. */
  get<E extends 'connect' | 'message'>(event: E): ClientsListeners[E] | undefined {
    return this.#of(event)[0]
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
        const text = `a listener to clients has thrown: ${(error as Error)?.message}`
        this.#onnotice(SeaportError.COMMAND_FAILED(text, error))
      }
    }
  }

  #of<E extends keyof ClientsListeners>(event: E): ClientsListeners[E][] {
    return (this.#listeners[event] ?? []) as ClientsListeners[E][]
  }
}

import type { SeaportError } from '../../core/errors.js'
import type { Body } from '../body.js'
import type { Outgoing } from '../caller.js'
import { Mail } from './mail.js'
import type { MailParts } from './mail-options.js'

export type ConsumerMailOptions = Pick<
  MailParts,
  'participant' | 'dir' | 'verb' | 'direct' | 'links' | 'onnotice'
>

/** Sends a consumer's commands as letters where no link can be made. Nothing is opened before the first one. */
export class ConsumerMail {
  readonly #options: ConsumerMailOptions
  #mail: Mail | null = null

  constructor(options: ConsumerMailOptions) {
    this.#options = options
  }

  /**
   * Sends a command to one key, and resolves with its answer.
   *
   * @throws the error that it ended with; its `executed` says whether it may have been executed
   */
  async call(to: string, outgoing: Outgoing, signal: AbortSignal): Promise<Body> {
    this.#mail ??= new Mail({ ...this.#options, onwanted() {}, onrecord() {} }).wanted()
    try {
      await this.#mail.start(this.#options.participant.keyPair)
    } catch (error) {
      throw (error as SeaportError).withExecuted('no')
    }
    return this.#mail.call(to, outgoing, signal)
  }

  async close() {
    await this.#mail?.stopSending()
    await this.#mail?.close()
  }
}

import type { SeaportError } from '../core/errors.js'
import type { CommandContract } from './contract.js'
import type { Sender, SendOptions } from './sender.js'

/** The outcome of a command at one instance. */
export type Answer =
  | { instance: string; value: unknown; error?: undefined }
  | { instance: string; error: SeaportError; value?: undefined }

/** How many instances are asked at a time. */
const MAX_AT_A_TIME = 32

/**
 * Sends a command to several instances, by their keys in hex, and yields the answers in the order in which they arrive.
 */
export async function* sendAll(
  sender: Sender,
  instances: readonly string[],
  command: string | CommandContract,
  data: unknown,
  options: Omit<SendOptions, 'instance'>
): AsyncGenerator<Answer, void, void> {
  const waiting = [...new Set(instances)]
  const running = new Map<string, Promise<Answer>>()
  const leave = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, leave.signal]) : leave.signal
  const ask = (instance: string): Promise<Answer> =>
    sender.send(command, data, { ...options, signal, instance }).then(
      (value) => ({ instance, value }),
      (error) => ({ instance, error })
    )
  try {
    while (waiting.length > 0 || running.size > 0) {
      while (waiting.length > 0 && running.size < MAX_AT_A_TIME) {
        const instance = waiting.shift() as string
        running.set(instance, ask(instance))
      }
      const answer = await Promise.race(running.values())
      running.delete(answer.instance)
      yield answer
    }
  } finally {
    leave.abort()
  }
}

import { setTimeout } from 'node:timers/promises'

const PAUSE_MS = 2

/**
 * Waits for as long as something holds that nobody tells the end of. The process rests in between: one that looks at
 * every turn of the event loop takes a whole CPU, and what it waits for takes longer.
 */
export async function restWhile(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (await holds()) await setTimeout(PAUSE_MS)
}

import { setTimeout } from 'node:timers/promises'
import { shuffled } from '../random.js'
import type { Machines } from './machines.js'

const WISH_MS = 1000
const MAX_EVENTS = 5
const MAX_PAUSE_MS = 2500
const MAX_DIVIDED_MS = 8000

interface Wanted {
  /** Instances of it are killed, too. */
  app: string
  /** What deployers do, each in words once it was done. */
  wishes: (() => Promise<string>)[]
}

/**
 * Has things happen for a while. The network is divided at the beginning.
 *
 * @returns what it was, in words
 */
export async function live(
  machines: Machines,
  random: () => number,
  { app, wishes }: Wanted
): Promise<string[]> {
  const told: string[] = []
  const { names } = machines
  const some = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T
  const divide = () => {
    const order = shuffled(names, random)
    const half = Math.ceil(order.length / 2)
    // In two, or each alone.
    const groups =
      random() < 0.75 ? [order.slice(0, half), order.slice(half)] : order.map((one) => [one])
    machines.divide(...groups)
    return `divided ${groups.map((group) => group.join('+')).join(' | ')}`
  }
  const events = [
    divide,
    () => {
      machines.heal()
      return 'healed'
    },
    async (name: string) => {
      await machines.endHost(name, 'SIGTERM')
      return `host ${name} ended`
    },
    async (name: string) => {
      await machines.endHost(name, 'SIGKILL')
      return `host ${name} killed`
    },
    async (name: string) => {
      await machines.startHost(name)
      return `host ${name} started`
    },
    async (name: string) => {
      await machines.killRegistrar(name)
      return `registrar ${name} killed`
    },
    async (name: string) => {
      await machines.kill(name)
      return `machine ${name} killed`
    },
    ...wishes,
    async () => {
      const [one] = shuffled(await machines.running(app), random)
      if (one) process.kill(one.pid, 'SIGKILL')
      return `an app on ${one?.env.APP_HOST} killed`
    }
  ]
  told.push(divide())
  // Often for so long that what is single has ended on one side, and begun on the other.
  await setTimeout(random() * MAX_DIVIDED_MS)
  const count = 1 + Math.floor(random() * MAX_EVENTS)
  for (let i = 0; i < count; i++) {
    await setTimeout(random() * MAX_PAUSE_MS)
    told.push(await some(events)(some(names)))
  }
  await setTimeout(random() * MAX_PAUSE_MS)
  return told
}

/**
 * Has something done, if that is possible now, and not waited for.
 *
 * @param done what to say if it was done
 * @returns that, or why it was not
 */
export async function wish(
  machines: Machines,
  what: string,
  argument: unknown,
  done: string
): Promise<string> {
  const asked = machines.ask(what, argument).then(
    () => done,
    (error) => `not ${what}: ${error.message.split('\n')[0]}`
  )
  return Promise.race([asked, setTimeout(WISH_MS, `${what} is under way`, { ref: false })])
}

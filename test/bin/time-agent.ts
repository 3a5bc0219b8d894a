import { resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import type { Test } from 'tap'
import type { Cli } from './cli.js'

export const EXAMPLES = resolve(import.meta.dirname, '../../../examples')

/** Plays the seed's example by the command line alone: the first call is made by the binary itself. */
export async function play(t: Test, cli: Cli) {
  const run = (args: string[]) => cli.ask(args)
  const fetched = await cli.run(['call', 'agent@1.x', 'fetch'])
  t.match(fetched, { code: 0, stderr: '' })
  t.match(JSON.parse(fetched.stdout), { type: 'FETCHED_TIME', payload: Number })

  const listen = cli.start(['listen', 'agent@1.x', 'FETCHED_TIME', '--json'])
  await listen.waitForTalk('listening to agent@1.x')
  t.match(await run(['call', 'agent@1.x', 'start']), { code: 0, stdout: '' })
  await listen.waitForLine('{')
  const stopped = run(['call', 'agent@1.x', 'stop'])
  t.match(await stopped, { code: 0, stdout: '' })
  // What was sent before the stop may still be under way; an agent that goes on sends one each second.
  await setTimeout(500)
  const heard = listen.lines.stdout.length
  await setTimeout(1500)
  t.equal(listen.lines.stdout.length, heard, 'none comes after it was stopped')
  const events = listen.lines.stdout.map((line) => JSON.parse(line))
  t.same(
    events.map(({ seq, missed }) => [seq, missed]),
    events.map((_, i) => [i + 1, 0])
  )
  t.match(events[0], { type: 'FETCHED_TIME', data: Number, version: '1.0.0' })
  t.match(await listen.kill('SIGINT'), { code: 0 })

  const unknown = await run(['call', 'agent@1.x', 'fetsh'])
  t.match(unknown, { code: 1, stdout: '', stderr: /^UNKNOWN_COMMAND: /m })
  const all = await run(['call', 'agent@1.x', 'fetch', '--all'])
  t.match(JSON.parse(all.stdout), { instance: /^[0-9a-f]{64}$/, value: { type: 'FETCHED_TIME' } })
}

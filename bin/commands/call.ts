import { SeaportError } from '../../lib/identity.js'
import type { Answer, PortlessEntry, SendOptions } from '../../lib/index.js'
import { printableJson } from '../../lib/printing.js'
import type { Command } from '../command.js'
import { JSON_FLAG } from '../flags.js'
import { printWhole } from '../output.js'
import { dataOf, keyOf, ROLE_FLAG, TALKING_FLAGS, talkTo } from '../talking.js'

/** Has a service execute a command, and prints the answer. */
export const call: Command = {
  verb: 'call',
  positional: ['role', 'command', 'data'],
  flags: {
    role: ROLE_FLAG,
    command: {
      describe: 'Name of the command',
      needed: "the command's name; inspect lists them",
      commandLineOnly: true
    },
    data: {
      describe: 'What is sent with it: JSON, @file, or - for stdin',
      otherwise: 'nothing',
      commandLineOnly: true
    },
    bytes: {
      kind: 'switch',
      describe: 'Send what a file or stdin holds as bytes, and not as JSON',
      commandLineOnly: true
    },
    all: {
      kind: 'switch',
      describe: 'Ask every instance, and print a line of JSON for each',
      commandLineOnly: true
    },
    stream: {
      kind: 'switch',
      describe: 'Print an answer that comes in items, a line each',
      commandLineOnly: true
    },
    instance: { describe: 'Ask this instance alone, by its key', commandLineOnly: true },
    idempotent: {
      kind: 'switch',
      describe: 'It may be executed twice, so ask another instance when one does not answer',
      commandLineOnly: true
    },
    timeout: {
      describe: 'How long to wait for the answer, in seconds or as in 500ms',
      otherwise: '10',
      commandLineOnly: true
    },
    json: { ...JSON_FLAG, describe: 'Print JSON over several lines' },
    ...TALKING_FLAGS
  },
  examples: [
    ['call agent@1.x fetch', 'Print what one of them answers'],
    [`call agent@1.x add '{"a":1}' --timeout 2`, 'With JSON, and less patience'],
    ['call agent reload --all', 'Every instance; a line of JSON each']
  ],

  async run(settings, lifetime) {
    const role = settings.text('role')
    const { parseRoleRange } = await import('../../lib/roles.js')
    parseRoleRange(role)
    const command = settings.text('command')
    const data = await dataOf(settings.text('data', undefined), settings.on('bytes'))
    const instance = settings.text('instance', undefined)
    const timeout = settings.duration('timeout', undefined)
    const options: SendOptions = {
      timeout,
      ...(settings.on('idempotent') && { idempotent: true })
    }
    const indent = settings.on('json') ? 2 : undefined
    const [all, stream] = [settings.on('all'), settings.on('stream')]
    if ((all && stream) || (all && instance !== undefined)) {
      throw SeaportError.USAGE('say one of --all, --stream and --instance')
    }

    const { entries } = await talkTo([role], settings, lifetime, { verb: 'call', timeout })
    const [entry] = entries as [PortlessEntry]
    const wanted = { ...options, instance: instance && keyOf(entry, instance) }
    const ask = async () => {
      if (all) return askAll(entry, command, data, options)
      if (!stream) return print(await entry.send(command, data, wanted), indent)
      for await (const item of entry.stream(command, data, wanted)) await print(item)
    }
    // It may wait for somebody who does not read, and ends all the same when it is stopped.
    await Promise.race([ask(), lifetime.cut()])
  }
}

/** Prints a line for each instance. Fails when one has, after all have answered. */
async function askAll(entry: PortlessEntry, command: string, data: unknown, options: SendOptions) {
  let failure: SeaportError | null = null
  for await (const answer of entry.sendAll(command, data, options)) {
    failure ??= answer.error ?? null
    await print(shown(answer))
  }
  if (failure) throw failure
}

function shown({ instance, value, error }: Answer) {
  if (!error) return { instance, value }
  const { code, text, executed, handlerCode } = error
  return { instance, error: { code, text, executed, handlerCode } }
}

/** Prints an answer, and waits for its reader: so a slow one holds up what is still to come. */
async function print(value: unknown, indent?: number) {
  if (value === undefined) return
  await printWhole(value instanceof Uint8Array ? value : `${printableJson(value, indent)}\n`)
}

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { createInterface as createAsking } from 'node:readline/promises'
import { parseKey, SeaportError, toHex } from '../../lib/identity.js'
import type { Peer } from '../../lib/index.js'
import type { Command } from '../command.js'
import { JSON_FLAG } from '../flags.js'
import type { Lifetime } from '../lifetime.js'
import { jsonOf, lineOf, MAILING_FLAGS, openPeer, type PeerAnswers } from '../mailing.js'
import { checkMetricsFlag, METRICS_FLAG, serveMetrics } from '../metrics.js'
import { printData } from '../output.js'
import { PeerPrompt } from '../peer-prompt.js'
import type { Settings } from '../settings.js'
import { say } from '../talk.js'

const PROMPT = '@> '
const OWNER_ONLY = 0o600

/** Is a peer that others write to: at a terminal with a prompt, and else printing what comes. */
export const peer: Command = {
  verb: 'peer',
  isLasting: true,
  makesConfig: true,
  flags: {
    name: { describe: 'What it calls itself in lists' },
    store: {
      describe: 'Keep sealed letters for others who are away, this much of them, as in 1GiB',
      otherwise: 'none are kept'
    },
    control: {
      describe: 'Port on loopback for prompts in other terminals of this user, 0 for a free one'
    },
    attach: {
      describe: 'Be the prompt of a peer that runs with --control, as in 127.0.0.1:8080',
      commandLineOnly: true
    },
    json: { ...JSON_FLAG, describe: 'Print a line of JSON for each letter' },
    metrics: METRICS_FLAG,
    ...MAILING_FLAGS,
    registryPublicKey: { ...MAILING_FLAGS.registryPublicKey, unless: ['attach'] }
  },
  examples: [
    ['peer --config ./peer.conf', 'At a terminal: asks for what the file lacks, and writes it'],
    ['peer --name ada --control 8080', 'Without a terminal: prints what comes'],
    ['peer --attach 127.0.0.1:8080', 'Be its prompt']
  ],

  async run(settings, lifetime) {
    const address = settings.text('attach', undefined)
    if (address !== undefined) return attachTo(address, lifetime)
    const isAtTerminal = process.stdin.isTTY === true
    const json = settings.on('json')
    const store = settings.size('store', undefined)
    const port = settings.listenPort('control', undefined)
    checkMetricsFlag(settings)
    const answers = isAtTerminal ? await ask(settings) : {}
    const name = answers.name ?? settings.text('name', undefined)
    const options = { ...answers, ...(name && { name }), store, isLasting: true }
    const peer = await openPeer(settings, lifetime, options)
    if (lifetime.stopped) return
    if (!isAtTerminal) say(`peer ${peer.key}`)
    const prompt = new PeerPrompt(peer)
    const print = isAtTerminal ? promptOf(peer, prompt, lifetime) : printData
    const talk = isAtTerminal ? print : say
    // Listened to before anything is waited for: a registrar may be there in no time.
    let tellAll: (text: string) => void = () => {}
    peer.on('message', (message) => {
      prompt.take(message)
      print(json ? jsonOf(message) : lineOf(message))
      tellAll(lineOf(message))
    })
    peer.on('registered', () => talk(`registered as peer ${peer.key}`))
    peer.on('lost', () => talk('the registry is out of reach, still trying'))
    if (port !== undefined) {
      tellAll = await control(port, prompt, lifetime, json ? talk : print)
    }
    await serveMetrics(settings, lifetime, () => peer.measures())
    await lifetime.untilStopped()
  }
}

/** Asks for what is needed and nobody said, and writes it to the config file that was named. */
async function ask(settings: Settings): Promise<PeerAnswers> {
  if (settings.key('registryPublicKey', undefined) !== undefined) return {}
  const file = settings.path('config', undefined)
  const asking = createAsking({ input: process.stdin, output: process.stdout })
  try {
    console.log('A peer needs to know its registry. What is not known yet is asked for, once.')
    const registryPublicKey = await askKey(asking)
    const name = (await asking.question('name, as others see it (may be empty): ')).trim()
    if (file !== undefined) {
      const lines = [
        `registryPublicKey=${toHex(registryPublicKey)}`,
        ...(name ? [`name=${name}`] : [])
      ]
      writeConfig(file, `${lines.join('\n')}\n`)
    }
    return { registryPublicKey, name }
  } finally {
    asking.close()
  }
}

async function askKey(asking: { question(text: string): Promise<string> }): Promise<Buffer> {
  for (;;) {
    try {
      return parseKey(await asking.question('registryPublicKey: '), 'registry public key')
    } catch (error) {
      if (!(error instanceof SeaportError)) throw error
      console.log(error.message)
    }
  }
}

function writeConfig(file: string, text: string) {
  try {
    const there = existsSync(file) ? readFileSync(file, 'utf8') : ''
    const gap = there === '' || there.endsWith('\n') ? '' : '\n'
    writeFileSync(file, gap + text, { mode: OWNER_ONLY, flag: 'a' })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw SeaportError.STORAGE_FAILED(`${file} cannot be written (${code})`, cause)
  }
  console.log(`wrote ${file}`)
}

/** Takes lines at the terminal. What is printed meanwhile stands above the prompt. */
function promptOf(peer: Peer, prompt: PeerPrompt, lifetime: Lifetime) {
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: PROMPT })
  const print = (text: string) => {
    process.stdout.write(`\r\x1b[K${text}\n`)
    lines.prompt(true)
  }
  let last: Promise<unknown> = Promise.resolve()
  lines.on('line', (line) => {
    last = last.then(async () => {
      const outcome = await prompt.execute(line, print)
      if (outcome === 'exit') return lifetime.stop()
      if (outcome === 'detach') print('this is the peer itself; exit ends it')
      lines.prompt()
    })
  })
  lines.on('SIGINT', () => void lifetime.stop())
  lines.on('close', () => void lifetime.stop())
  lifetime.own({ destroy: async () => lines.close() })
  console.log(`peer ${peer.key}`)
  lines.prompt()
  return print
}

/** Lets others attach, and returns what tells all of them something. */
async function control(
  port: number,
  prompt: PeerPrompt,
  lifetime: Lifetime,
  talk: (text: string) => void
) {
  const { Control } = await import('../control.js')
  const made = lifetime.own(
    new Control(async (line, print) => {
      const outcome = await prompt.execute(line, print)
      if (outcome === 'exit') setImmediate(() => void lifetime.stop())
      return outcome
    })
  )
  talk(`control on port ${await made.open(port)}`)
  return (text: string) => made.tell(text)
}

async function attachTo(address: string, lifetime: Lifetime) {
  const { attach } = await import('../control.js')
  await attach(address, lifetime.signal, (text) => console.log(text))
}

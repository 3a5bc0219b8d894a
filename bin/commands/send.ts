import { text as readAll } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { SeaportError } from '../../lib/identity.js'
import type { LetterReceipt, SentLetter } from '../../lib/index.js'
import { messageIn } from '../bounded.js'
import type { Command } from '../command.js'
import { JSON_FLAG } from '../flags.js'
import { MAILING_FLAGS, openPeer, whyItWaits } from '../mailing.js'
import { printData } from '../output.js'
import { say, waitAloud } from '../talk.js'

const STDIN = '-'
/** How long it is tried at once, in ms. After that the letter waits for the next time that a verb has this mail open. */
const PATIENCE_MS = 5000
const GOES_ON = 'it is tried again whenever send, inbox or peer runs with this folder'
const WAITS = ['delivered'] as const

/** Writes a letter, and prints the status that it has. */
export const send: Command = {
  verb: 'send',
  positional: ['to', 'text'],
  flags: {
    to: {
      describe: 'A key, or a name and semver range with an @',
      needed: 'the key of who is to have it, or a role, as in worker@1.x',
      commandLineOnly: true
    },
    text: {
      describe: 'What it says, or - for stdin',
      needed: 'what it says',
      commandLineOnly: true
    },
    type: { describe: 'What the letter is called', otherwise: 'nothing', commandLineOnly: true },
    ttl: {
      describe: 'How long it is of use, as in 12h or 30d',
      otherwise: '7d',
      commandLineOnly: true
    },
    wait: {
      describe: 'Wait until it is delivered; fails if it is not in its time',
      otherwise: 'try for 5 s; what is not delivered then waits on this disk',
      commandLineOnly: true
    },
    json: JSON_FLAG,
    ...MAILING_FLAGS
  },
  examples: [
    ["send 5b64… 'hello'", 'To a key'],
    ["send worker@1.x 'run' --wait delivered --ttl 1h", 'To an instance of a role'],
    ['send 5b64… -', 'What stdin says']
  ],

  async run(settings, lifetime) {
    const to = settings.text('to')
    const given = settings.text('text')
    const ttl = settings.duration('ttl', undefined)
    const type = settings.text('type', undefined)
    const isToWait = settings.word('wait', WAITS, undefined) !== undefined
    const json = settings.on('json')
    await checkReceiver(to)
    const text = given === STDIN ? await readAll(messageIn(process.stdin)) : given
    const peer = await openPeer(settings, lifetime)
    let isThere = false
    peer.on('registered', () => {
      isThere = true
    })
    const letter = await peer.send(to, text, { ttl, type })
    let state = null as LetterReceipt | null
    const why = () => whyItWaits(state, isThere)
    letter.on('receipt', (receipt) => {
      state = receipt
      if (isWaiting(letter)) say(why())
    })
    const patience = new AbortController()
    const late = sleep(isToWait ? 2 ** 31 - 1 : PATIENCE_MS, undefined, {
      signal: patience.signal
    }).catch(() => {})
    const end = Promise.race([letter.delivered.catch(() => {}), late, lifetime.untilStopped()])
    await waitAloud(end, why)
    patience.abort()
    show(letter, to, json)
    if (letter.status === 'delivered') return
    if (!isWaiting(letter) || isToWait) await letter.delivered
    else if (!lifetime.stopped) say(GOES_ON)
  }
}

function isWaiting({ status }: SentLetter): boolean {
  return status === 'queued' || status === 'unreachable'
}

function show({ id, status }: SentLetter, to: string, json: boolean) {
  printData(json ? JSON.stringify({ id, status, to }) : `${status} ${id}`)
}

/** @throws BAD_KEY, BAD_ROLE */
async function checkReceiver(to: string) {
  if (to.includes('@')) {
    const { parseRoleRange } = await import('../../lib/roles.js')
    parseRoleRange(to)
    return
  }
  const { parseKey } = await import('../../lib/identity.js')
  try {
    parseKey(to, 'receiver')
  } catch (error) {
    throw SeaportError.BAD_KEY(`${(error as SeaportError).text}; a role has an @, as in worker@1.x`)
  }
}

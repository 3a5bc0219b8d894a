import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from '../command.js'
import { JSON_FLAG } from '../flags.js'
import { jsonOf, lineOf, MAILING_FLAGS, openPeer } from '../mailing.js'
import { printData } from '../output.js'
import { say } from '../talk.js'

/** How long a registrar is looked for, whose directory tells our writers that we are there, in ms. */
const SEARCH_MS = 10_000
/** How long it waits for one letter more, in ms. */
const SILENCE_MS = 2000

/** Prints the letters that came, which are read then. */
export const inbox: Command = {
  verb: 'inbox',
  isLasting: true,
  flags: {
    follow: {
      kind: 'switch',
      describe: 'Go on, and print those that come',
      commandLineOnly: true
    },
    json: { ...JSON_FLAG, describe: 'Print a line of JSON for each letter' },
    ...MAILING_FLAGS
  },
  examples: [
    ['inbox', 'What is there, and what comes now that we are'],
    ['inbox --follow --json', 'For a program to read']
  ],

  async run(settings, lifetime) {
    const json = settings.on('json')
    const follow = settings.on('follow')
    const peer = await openPeer(settings, lifetime)
    let lastAt = performance.now()
    const registered = once(peer, 'registered')
    registered.catch(() => {})
    peer.on('message', (message) => {
      lastAt = performance.now()
      printData(json ? jsonOf(message) : lineOf(message))
    })
    say(`letters to ${peer.key}`)
    if (follow) return lifetime.untilStopped()
    await Promise.race([
      registered,
      sleep(SEARCH_MS, undefined, { ref: false }),
      lifetime.untilStopped()
    ])
    lastAt = performance.now()
    while (!lifetime.stopped && performance.now() - lastAt < SILENCE_MS) {
      const wait = sleep(SILENCE_MS / 10, undefined)
      await Promise.race([wait, lifetime.untilStopped()])
    }
  }
}

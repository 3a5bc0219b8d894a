import { lstatSync } from 'node:fs'
import { KeyPair, randomSeed, SeaportError, toHex } from '../../lib/identity.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS, JSON_FLAG } from '../flags.js'
import { replaceSecret, writeNewSecret } from '../secret-file.js'

/** Makes an identity: what it prints is a config file. */
export const seed: Command = {
  verb: 'seed',
  flags: {
    // Only as a flag: with a seed in the config file, `seed` must still make a new one.
    registrySeed: {
      describe: 'Print the pair of this seed, or @file, instead of a new one',
      commandLineOnly: true
    },
    out: {
      describe: 'Write to this file, readable by you alone, instead of printing',
      commandLineOnly: true
    },
    force: {
      kind: 'switch',
      describe: 'Let --out replace a file',
      commandLineOnly: true
    },
    json: JSON_FLAG,
    ...COMMON_FLAGS
  },
  examples: [
    ['seed --out ~/.config/hyperseaport', 'Make a registry, and its config file'],
    ['seed --registrySeed @seed.txt', 'Show the public key of a seed']
  ],

  async run(settings, lifetime) {
    const secret = settings.key('registrySeed', undefined) ?? randomSeed()
    const out = settings.path('out', undefined)
    const pair = {
      registrySeed: toHex(secret),
      registryPublicKey: toHex(KeyPair(secret).publicKey)
    }
    const text = settings.on('json')
      ? JSON.stringify(pair, null, 2)
      : `registrySeed=${pair.registrySeed}\nregistryPublicKey=${pair.registryPublicKey}`
    if (out === undefined) {
      console.log(text)
      return
    }
    if (settings.on('force')) await replaceSecret(out, `${text}\n`, lifetime.signal)
    else if (isThere(out)) {
      throw SeaportError.USAGE(`${out} exists and may hold a seed you need, --force replaces it`)
    } else await writeNewSecret(out, `${text}\n`)
    console.error(`wrote ${out}, keep it secret`)
    console.error(`registryPublicKey=${pair.registryPublicKey}`)
  }
}

/** A link counts, too: the disk that it leads to may only be away for now. */
function isThere(path: string): boolean {
  try {
    lstatSync(path)
    return true
  } catch {
    return false
  }
}

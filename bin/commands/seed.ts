import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { KeyPair, randomSeed, SeaportError, toHex } from '../../lib/identity.js'
import type { Command } from '../command.js'
import { COMMON_FLAGS, JSON_FLAG } from '../flags.js'

const OWNER_ONLY = 0o600
const OWNERS_FOLDER = 0o700

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

  async run(settings) {
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
    writeSecret(out, `${text}\n`, settings.on('force'))
    console.error(`wrote ${out}, keep it secret`)
    console.error(`registryPublicKey=${pair.registryPublicKey}`)
  }
}

function writeSecret(path: string, text: string, replace: boolean) {
  if (!replace && existsSync(path)) {
    throw SeaportError.USAGE(`${path} exists and may hold a seed you need, --force replaces it`)
  }
  try {
    // A fresh machine has no ~/.config.
    mkdirSync(dirname(path), { recursive: true, mode: OWNERS_FOLDER })
    writeFileSync(path, text, { mode: OWNER_ONLY, flag: replace ? 'w' : 'wx' })
    // The mode above is for a new file only.
    chmodSync(path, OWNER_ONLY)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw SeaportError.STORAGE_FAILED(`${path} cannot be written (${code})`, cause)
  }
}

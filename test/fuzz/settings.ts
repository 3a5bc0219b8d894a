import { parseConfig } from '../../bin/config.js'
import { parseBootstrap } from '../../lib/core/bootstrap-list.js'
import { parseDuration } from '../../lib/core/duration.js'
import { parseKey } from '../../lib/core/keys.js'
import { dialableAddresses } from '../../lib/link/direct/address.js'
import { parseBackend } from '../../lib/serving/backend.js'
import type { Target } from './mutants.js'

const INI = '; a comment\nregistrySeed = 0101\nrole=a@1.0.0\ntag[]=red\ntag[]="a;b"\nport=80\n'
const JSON_CONFIG = '{ "role": "a@1.0.0", "port": 80, "tag": ["red", "blue"], "json": true }'

function text(valid: string, read: (text: string) => unknown): Target {
  return { valid: [Buffer.from(valid)], read: ([input]) => read(`${input}`) }
}

function config(valid: string): Target {
  return {
    ...text(valid, (input) => parseConfig(input, 'a file')),
    mayAccept: (values) =>
      Object.values(values as object).every(
        (texts) => Array.isArray(texts) && texts.every((one) => typeof one === 'string')
      )
  }
}

export const settingsTargets: Record<string, Target> = {
  'config file': config(INI),
  'config file in JSON': config(JSON_CONFIG),
  duration: text('1500ms', parseDuration),
  key: text('5b64'.repeat(16), parseKey),
  bootstrap: text('10.0.0.2:49737,host:1', parseBootstrap),
  backend: text('10.0.0.7:80', parseBackend),
  'direct address': text('10.0.0.7:80', (address) => dialableAddresses('any', [address]))
}

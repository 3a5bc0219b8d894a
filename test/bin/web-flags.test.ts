import t from 'tap'
import { parseArguments } from '../../bin/arguments.js'
import { Settings } from '../../bin/settings.js'
import { webOptions } from '../../bin/web-flags.js'

const KEY = 'ab'.repeat(32)

async function optionsOf(...line: string[]) {
  const parsed = await parseArguments(line)
  if (parsed.asks !== 'verb') throw new Error(parsed.asks)
  return webOptions(new Settings(parsed.command, parsed.values, {}, null))
}

t.test('texts of the command line become objects and milliseconds', async (t) => {
  t.match(
    await optionsOf(
      ...['web', '--domain', 'api.example.com=api@^2', '--domain', '*.a.b=@team/site@1.x'],
      ...['--allowHostname', `*.example.com=${KEY}+${KEY}`, '--cors', 'api@>=1=https://a.b'],
      ...['--timeout', '5', '--timeout', 'api@>=1=0.5', '--maxTime', '60', '--maxBody', '10m']
    ),
    {
      domains: [
        { host: 'api.example.com', role: 'api@^2' },
        { host: '*.a.b', role: '@team/site@1.x' }
      ],
      hostnames: [{ host: '*.example.com', services: [KEY, KEY] }],
      cors: [{ role: 'api@>=1', origin: 'https://a.b' }],
      deadline: 5000,
      deadlines: [{ role: 'api@>=1', ms: 500 }],
      requestTimeout: 60_000,
      maxBodyBytes: 10 * 1024 * 1024
    }
  )
  for (const [flag, text] of [
    ['--domain', 'api'],
    ['--allowHostname', 'api'],
    ['--cors', 'api'],
    ['--timeout', 'api=soon'],
    ['--timeout', '-1'],
    ['--maxBody', 'much']
  ] as const) {
    await t.rejects(optionsOf('web', flag, text), { code: 'USAGE' }, `${flag} ${text}`)
  }
})

t.test('the fast path is switched off by a flag, of web and of registry --web', async (t) => {
  for (const verb of ['web', 'registry']) {
    t.equal((await optionsOf(verb)).fastPath, true)
    for (const flag of ['--no-fastPath', '--noFastPath', '--no-fast-path', '--noFastPath=true']) {
      t.equal((await optionsOf(verb, flag, '--listen', '::1')).fastPath, false, `${verb} ${flag}`)
    }
  }
})

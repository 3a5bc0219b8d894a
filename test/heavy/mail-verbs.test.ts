import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { KeyPair, toHex } from '../../lib/core/keys.js'
import { Cli } from '../bin/cli.js'
import { peersOf } from '../bin/peers.js'

/** Each call is a process of its own. */

t.test(
  'a peer without a terminal prints what comes, and send prints the status it has',
  async (t) => {
    const { cli, peer } = await peersOf(t)
    const { running, key } = await peer('ada')
    const sent = await cli.run(['send', key, 'hello \u001b[2J', '--wait', 'delivered'])
    t.match(sent, { code: 0, stdout: /^delivered [0-9a-f]{64}\n$/ })
    t.match(await running.waitForLine('20'), / [0-9a-f]{64} hello \ufffd\[2J$/, 'and no escapes')

    const { key: other, running: json } = await peer('bea', '--json')
    const second = await cli.run(
      ['send', other, '-', '--type', 'note', '--json', '--wait', 'delivered'],
      {
        stdin: 'words'
      }
    )
    t.match(JSON.parse(second.stdout), { status: 'delivered', to: other })
    t.match(JSON.parse(`{${await json.waitForLine('{')}`), { type: 'note', body: 'words' })

    const role = await cli.ask(['send', 'peer@1.x', 'any of you', '--wait', 'delivered'])
    t.match(role, { code: 0, stdout: /^delivered / })
    t.match(await running.kill('SIGTERM'), { code: 0 })
    t.match(await json.kill('SIGTERM'), { code: 0 })
  }
)

t.test('what is not delivered waits on disk, and send fails if it was to wait', async (t) => {
  const { cli, peer } = await peersOf(t)
  const keyPair = KeyPair()
  const away = toHex(keyPair.publicKey)
  const late = await cli.ask(['send', away, 'x', '--wait', 'delivered', '--ttl', '1s'])
  t.match(late, { code: 1, stdout: /^expired /, stderr: /^EXPIRED: /m })
  const queued = await cli.ask(['send', away, 'later'])
  t.match(queued, { code: 0, stdout: /^queued / })

  const seed = toHex(keyPair.secretKey.subarray(0, 32))
  cli.write('seed.txt', seed)
  const { running, key } = await peer('ada', '--seed', `@${cli.path('seed.txt')}`)
  t.equal(key, away)
  const inbox = await cli.ask(['inbox', '--json'])
  t.match(inbox, { code: 0, stdout: '' }, 'whoever has this mail open sends what waits')
  t.match(await running.waitForLine('20'), / later$/)
})

t.test('send says what a letter waits for, and waits for nothing but its delivery', async (t) => {
  const { cli, peer } = await peersOf(t)
  const away = toHex(KeyPair().publicKey)
  const alone = cli.start(['send', away, 'x', '--wait', 'delivered'])
  await alone.waitForTalk('its receiver is away and nobody keeps letters')
  t.match(await alone.kill('SIGINT'), { code: 130, stdout: /^queued / }, 'this is no delivery')
  const role = await cli.run(['send', 'worker@1.x', 'x'])
  t.match(role, { code: 0, stdout: /^queued /, stderr: /^nobody serves this role/m })
  const { key: keeper } = await peer('keeper', '--store', '1MiB')
  const kept = await cli.run(['send', away, 'x'])
  t.match(kept, { code: 0, stdout: /^queued / })
  t.match(kept.stderr, new RegExp(`^a mailbox keeps it until .*: ${keeper}`, 'm'))
  t.match(kept.stderr, /^it is tried again whenever/m)

  const { running, key } = await peer('ada', '--control', '0')
  const port = await running.waitForLine('control on port ')
  const writer = cli.start(['inbox', '--follow'])
  const own = await writer.waitForTalk('letters to ')
  await writer.kill('SIGINT')
  await cli.run(['peer', '--attach', `127.0.0.1:${port}`], { stdin: `block ${own}\n` })
  const refused = await cli.run(['send', key, 'x', '--wait', 'delivered'])
  t.match(refused, { code: 1, stdout: /^refused /, stderr: /^NOT_ALLOWED: /m })
})

t.test('inbox prints what came, once', async (t) => {
  const { cli, peer } = await peersOf(t)
  const { running } = await peer('ada', '--control', '0')
  const inbox = cli.start(['inbox', '--follow'])
  const key = await inbox.waitForTalk('letters to ')
  const dir = cli.path('bob')
  t.match(await cli.ask(['send', key, 'one', '--dir', dir, '--wait', 'delivered']), { code: 0 })
  t.match(await inbox.waitForLine('20'), / one$/)
  const taken = await cli.ask(['send', key, 'x'])
  t.match(taken, { code: 1, stdout: '', stderr: /^KEY_IN_USE: /m }, 'one process at a time')
  t.match(await inbox.kill('SIGINT'), { code: 0 })
  t.match(await cli.ask(['inbox']), { code: 0, stdout: '' })
  await running.kill('SIGTERM')
})

t.test('what is no receiver, and what is missing, is said before anything is opened', async (t) => {
  const cli = new Cli(t)
  cli.seed()
  t.match(await cli.ask(['send']), { code: 2, stderr: /--to is missing/ })
  t.match(await cli.ask(['send', 'nobody', 'x']), { code: 2, stderr: /^BAD_KEY: .*role has an @/m })
  t.match(await cli.ask(['send', 'a@x.y', 'x']), { code: 2, stderr: /^BAD_ROLE: /m })
  t.match(await cli.ask(['send', '--wait', 'read', 'a@1.x', 'x']), { code: 2, stderr: /delivered/ })
  t.match(await cli.ask(['peer', '--attach', '10.0.0.1:80']), { code: 2, stderr: /this machine/ })
  t.match(await cli.ask(['peer', '--attach', '127.0.0.1:9']), { code: 1, stderr: /^LINK_LOST/m })
})

t.test(
  'a prompt in another terminal commands a peer, and only who can read the secret may',
  async (t) => {
    const { cli, peer } = await peersOf(t)
    const { running, key } = await peer('ada', '--control', '0')
    const port = await running.waitForLine('control on port ')
    const { key: bea } = await peer('bea')
    const secret = join(cli.home, '.local/share/hyperseaport', `control-${port}`)
    t.equal(statSync(secret).mode & 0o777, 0o600)

    const stranger = connect(Number(port), '127.0.0.1')
    let heard = ''
    stranger.on('data', (bytes) => {
      heard += bytes
    })
    stranger.write('POST / HTTP/1.1\r\n\r\nexit\n')
    stranger.on('error', () => {})
    await once(stranger, 'close')
    t.equal(heard, '')

    const attach = (...lines: string[]) =>
      cli.run(['peer', '--attach', `127.0.0.1:${port}`], { stdin: `${lines.join('\n')}\n` })
    const session = await attach('connect bea', `send ${bea} hello there`, 'peers', 'nonsense')
    t.match(session, { code: 0 })
    const lines = session.stdout.split('\n')
    t.match(lines, [
      'attached',
      new RegExp(`^connected to ${bea} \\((direct|dht)`),
      /^queued [0-9a-f]{64}$/
    ])
    t.ok(lines.includes(`${bea} bea`))
    t.ok(lines.some((line) => line.startsWith('there is no "nonsense"')))
    const left = await attach('detach', 'peers')
    t.match(left, { code: 0 })
    t.notMatch(left.stdout, bea, 'nothing is heard after it')
    const again = await attach('discover', 'discover', 'block bea', 'exit')
    t.match(again.stdout, new RegExp(`${bea} bea\nnobody new\nno more letters`))
    t.match(await running.outcome, { code: 0 })
    t.notOk(existsSync(secret))
    t.equal(key.length, 64)
  }
)

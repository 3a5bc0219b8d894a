import t from 'tap'
import { KeyPair, randomSeed, toHex } from '../../lib/core/keys.js'
import { Cli } from '../bin/cli.js'
import { slowness } from '../watchdog.js'
import { Hosts, noHosts } from './hosts.js'
import { folderHas } from './memory.js'
import { type Correspondent, Post } from './post.js'
import { untilNothing } from './until.js'

const MIB = 1024 * 1024
const TAKEOVER_MS = 5000
/** By this much the clock of a mailbox jumps, which is more than clocks may differ. */
const LATER_MS = 10 * 60_000

function someone() {
  const seed = randomSeed()
  return { seed: toHex(seed), key: toHex(KeyPair(seed).publicKey) }
}

t.test(
  'who is away has its letters when it is back, in order and once, though every process was killed and started again',
  { timeout: 300_000 },
  async (t) => {
    const post = await Post.make(t)
    const names = ['one', 'two', 'three']
    const keeping = () => Promise.all(names.map((name) => post.peer(name, { store: 64 * MIB })))
    const keepers = await keeping()
    const away = someone()
    const letters = [1, 2, 3].map((body) => ({ to: away.key, body }))
    const writer = await post.peer('writer', { letters })
    const signers = (id: string) =>
      new Set(writer.receiptsOf(id).map(({ status, by }) => status === 'queued' && by))
    await writer.until(
      ({ wrote }) => wrote.length === 3 && wrote.every(({ id }) => signers(id).size >= 2),
      'not kept by two mailboxes'
    )
    const keys = keepers.map(({ key }) => key)
    const ids = writer.wrote.map(({ id }) => id)
    t.ok(ids.every((id) => [...signers(id)].every((by) => by && keys.includes(by))))

    await Promise.all([writer, ...keepers].map((peer) => peer.kill()))
    await post.restartRegistry()
    const [again, kept] = await Promise.all([post.peer('writer'), keeping()])
    const receiver = await post.peer('receiver', { seed: away.seed })
    await again.until(
      ({ receipts }) => receipts.filter(({ status }) => status === 'delivered').length >= 3,
      'not delivered'
    )
    t.same(
      receiver.got.map(({ id, body, from }) => [id, body, from]),
      ids.map((id, i) => [id, i + 1, writer.key]),
      'each once, and in order'
    )
    t.ok(
      again.receipts
        .filter(({ status }) => status === 'delivered')
        .every(({ by }) => by === away.key)
    )
    await untilNothing(async () => {
      const stats = await Promise.all(kept.map((keeper) => keeper.stats()))
      const left = stats.reduce((sum, { mail }) => sum + mail.mailbox.letters, 0)
      return left === 0 ? null : `${left} letters are still kept`
    }, 60_000)

    await receiver.kill()
    const back = await post.peer('receiver', { seed: away.seed })
    const last = await post.peer('other', { letters: [{ to: away.key, body: 'last' }] })
    await last.until(({ receipts }) => receipts.at(-1)?.status === 'delivered', 'not delivered')
    t.same(
      back.got.map(({ body }) => body),
      ['last'],
      'what was handled does not come again'
    )
  }
)

t.test(
  'while all mailboxes are away a letter waits with its writer alone, and with them once they are back',
  { timeout: 200_000 },
  async (t) => {
    const post = await Post.make(t)
    const keeper = await post.peer('keeper', { store: 64 * MIB })
    await keeper.kill()
    const away = someone()
    const writer = await post.peer('writer', { letters: [{ to: away.key, body: 'x' }] })
    await writer.until(({ wrote }) => wrote.length === 1, 'not written')
    t.match(writer.wrote, [{ status: 'queued' }])
    const saysSo = ({ receipts }: Correspondent) => receipts.some(({ code }) => code !== '')
    await writer.until(saysSo, 'it does not say so')
    t.ok(
      writer.receipts.every(({ status, by }) => status === 'queued' && by === null),
      'nobody has signed for it, and the writer says so'
    )
    const back = await post.peer('keeper', { store: 64 * MIB })
    const isKept = ({ receipts }: Correspondent) => receipts.at(-1)?.by === back.key
    await writer.until(isKept, 'not kept', 120_000)
    t.match(writer.receipts.at(-1), { status: 'queued', by: back.key, code: '' })
  }
)

t.test(
  'a letter whose time is over has expired at its writer, and nothing of it is left in the mailbox',
  { timeout: 200_000 },
  async (t) => {
    const post = await Post.make(t)
    const store = 64 * MIB
    const keeper = await post.peer('keeper', { store })
    const away = someone()
    const letters = [{ to: away.key, body: 'x', ttl: 20_000 }]
    const writer = await post.peer('writer', { letters })
    await writer.until(({ receipts }) => receipts.length > 0, 'not kept')
    t.match(writer.receipts, [{ status: 'queued', by: keeper.key }])
    t.equal((await keeper.stats()).mail.mailbox.letters, 1)
    await writer.until(({ receipts }) => receipts.at(-1)?.status === 'expired', 'not expired')
    await keeper.running.kill('SIGTERM')
    const later = await post.peer('keeper', { store, ahead: LATER_MS })
    await untilNothing(async () => {
      const { letters, expired } = (await later.stats()).mail.mailbox
      return letters === 0 && expired === 1 ? null : `${letters} are kept`
    }, 60_000)
    await later.running.kill('SIGTERM')
    const left = folderHas(post.cli.path('keeper'), Buffer.from(away.key, 'hex'))
    t.notOk(left, 'nor on its disk, where each letter names its receiver')
    const receiver = await post.peer('receiver', { seed: away.seed })
    const other = await post.peer('other', { letters: [{ to: away.key, body: 'y' }] })
    await other.until(({ receipts }) => receipts.at(-1)?.status === 'delivered', 'not delivered')
    t.same(
      receiver.got.map(({ body }) => body),
      ['y']
    )
  }
)

t.test(
  'a letter to a role waits for an instance over its writer’s restart, and goes on to the next if that one is killed',
  { timeout: 300_000 },
  async (t) => {
    const post = await Post.make(t)
    const first = await post.peer('writer', { letters: [{ to: 'worker@1.x', body: 'work' }] })
    await first.until(({ wrote }) => wrote.length === 1, 'not written')
    t.match(first.wrote, [{ status: 'queued' }])
    await first.kill()
    const writer = await post.peer('writer')
    const dead = await post.peer('dead', { role: 'worker@1.0.0', hangs: true })
    await dead.until(({ got }) => got.length === 1, 'not sent after the restart')
    const next = await post.peer('next', { role: 'worker@1.1.0' })
    await dead.kill()
    await next.until(({ got }) => got.length === 1, 'not sent to the next', 120_000)
    t.same(
      [...dead.got, ...next.got],
      [1, 2].map(() => ({ id: first.wrote[0]?.id, from: first.key, body: 'work' })),
      'with the same id'
    )
    await writer.until(({ receipts }) => receipts.at(-1)?.status === 'delivered', 'no receipt')
    t.match(writer.receipts.at(-1), { by: next.key })
  }
)

t.test(
  'who passes letters on is killed, and another way takes over',
  { skip: noHosts, timeout: 300_000 },
  async (t) => {
    const hosts = new Hosts(t)
    const cli = new Cli(t)
    const names = ['a', 'b', 'c', 'd', 'n']
    const at = Object.fromEntries(
      names.map((name, i) => [name, hosts.add(name, `10.77.0.${i + 1}`)])
    )
    hosts.cut('a', 'c')
    const dht = cli.start(['bootstrap', '--host', '10.77.0.5'], { at: at.n ?? [] })
    const bootstrap = await dht.waitForLine('bootstrap=')
    const post = new Post(cli, bootstrap)
    await post.registry.kill('SIGKILL')
    const flags = ['--bootstrap', bootstrap, '--relay', 'off']
    const registrar = async (name: string, host: string) => {
      const args = ['registry', ...flags, '--host', host, '--dir', cli.path(name)]
      const running = cli.start(args, { at: at[name] ?? [] })
      await running.waitForLine('registryPublicKey=')
      return running
    }
    const between = {
      b: await registrar('b', '10.77.0.2'),
      d: await registrar('d', '10.77.0.4')
    }
    const receiver = await post.peer('c', { host: '10.77.0.3' }, at.c)
    const stream = { to: receiver.key, interval: 100 }
    const writer = await post.peer('a', { host: '10.77.0.1', stream }, at.a)
    for (const name of ['b', 'd'] as const) {
      await receiver.until(({ got }) => got.length > 10, 'nothing comes')
      const since = performance.now()
      await between[name].kill('SIGKILL')
      const { sent } = (await writer.stats()).mail.outbox
      await receiver.until(({ got }) => got.some(({ body }) => body === sent), 'no way is found')
      const took = performance.now() - since
      const limit = TAKEOVER_MS * slowness()
      t.ok(took <= limit, `${name} killed: after ${Math.round(took)} ms letters came again`)
      between[name] = await registrar(name, `10.77.0.${names.indexOf(name) + 1}`)
      await untilNothing(async () => {
        const ends = await Promise.all([writer, receiver].map((end) => end.stats()))
        return ends.every(({ registrars }) => registrars === 2) ? null : 'it is not back'
      }, 60_000)
    }
    const bodies = receiver.got.map(({ body }) => body)
    t.same(
      bodies,
      bodies.map((_, i) => i),
      'each once, and in order'
    )
  }
)

import t from 'tap'
import { BootstrapList, parseBootstrap, readBootstrap } from '../../lib/core/bootstrap-list.js'

t.test('nodes are named by address or by name, with a port each', async (t) => {
  t.same(parseBootstrap('10.0.0.2:49737, boot.lan:7000,'), [
    { host: '10.0.0.2', port: 49737 },
    { host: 'boot.lan', port: 7000 }
  ])
  for (const text of ['boot.lan', 'boot.lan:0', 'boot.lan:65536', '::1:49737', 'a b:1']) {
    t.throws(() => parseBootstrap(text), { code: 'USAGE' }, text)
  }
})

t.test('all names are resolved at once, and each node stands there once', async (t) => {
  const answers = new Map<string, (addresses: string[]) => void>()
  const list = new BootstrapList(parseBootstrap('one.lan:1,10.0.0.9:1,two.lan:1,two.lan:2'), {
    resolve: (name) => new Promise((resolve) => answers.set(name, resolve))
  })
  t.same(list.nodes, [{ host: '10.0.0.9', port: 1 }], 'addresses need no resolver')
  const resolved = list.resolve()
  t.same(
    [...list.unresolved],
    [
      ['one.lan', 'no answer yet'],
      ['two.lan', 'no answer yet']
    ]
  )
  t.same([...answers.keys()], ['one.lan', 'two.lan'])
  answers.get('two.lan')?.(['10.0.0.2', '10.0.0.3'])
  answers.get('one.lan')?.(['10.0.0.9'])
  t.same(await resolved, [
    { host: '10.0.0.9', port: 1 },
    { host: '10.0.0.2', port: 1 },
    { host: '10.0.0.3', port: 1 },
    { host: '10.0.0.2', port: 2 },
    { host: '10.0.0.3', port: 2 }
  ])
  t.notOk(list.isIncomplete)
})

t.test('a name without an address is told, and asked for again', async (t) => {
  let answer: () => Promise<string[]> = async () => {
    throw Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
  }
  const list = new BootstrapList(parseBootstrap('boot.lan:1'), { resolve: () => answer() })
  t.same(await list.resolve(), [])
  t.ok(list.isIncomplete)
  t.same([...list.unresolved], [['boot.lan', 'ENOTFOUND']])
  const before = answer
  answer = async () => ['10.0.0.2']
  t.same(await list.resolve(), [{ host: '10.0.0.2', port: 1 }])
  t.equal(list.unresolved.size, 0)
  answer = async () => ['10.0.0.3']
  t.same(await list.resolve(), [{ host: '10.0.0.3', port: 1 }], 'another network, another address')
  answer = before
  t.same(await list.resolve(), [{ host: '10.0.0.3', port: 1 }], 'the last one is kept')
})

t.test('a resolver that does not answer holds nobody up, and is not asked twice', async (t) => {
  let asked = 0
  let answer: (addresses: string[]) => void = () => {}
  const list = new BootstrapList(parseBootstrap('slow.lan:1,10.0.0.9:1'), {
    resolve: () =>
      new Promise((resolve) => {
        asked++
        answer = resolve
      }),
    patience: 10
  })
  t.same(await list.resolve(), [{ host: '10.0.0.9', port: 1 }])
  t.same(await list.resolve(), [{ host: '10.0.0.9', port: 1 }])
  t.equal(asked, 1)
  answer(['10.0.0.2'])
  t.equal((await list.resolve()).length, 2, 'what it says late counts')
})

t.test('nodes in a list may be texts, too, and what is none is refused', async (t) => {
  const node = { host: '10.0.0.2', port: 1 }
  t.same(readBootstrap(['10.0.0.2:1', { host: '10.0.0.3', port: 2 }]), [
    node,
    { host: '10.0.0.3', port: 2 }
  ])
  t.same(readBootstrap([node]), [node])
  for (const wrong of ['10.0.0.2', {}, { host: '10.0.0.2' }, { host: '10.0.0.2', port: 0 }, null]) {
    t.throws(() => readBootstrap([wrong as never]), { code: 'USAGE' })
  }
})

t.test('whoever names nodes, and none at all, is not brought to the public DHT', async (t) => {
  for (const empty of ['', ' ', ',']) {
    t.throws(() => readBootstrap(empty), { code: 'USAGE', message: /--bootstrap names no node/ })
  }
})

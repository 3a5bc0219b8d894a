import t, { type Test } from 'tap'
import { SeaportError } from '../../../lib/core/errors.js'
import { Routes, type RoutesOptions } from '../../../lib/messaging/mail/routes.js'
import { restWhile } from '../../rest.js'

/** Routes to one receiver, and the letters that were brought to it. */
function routesOf(t: Test, options: Partial<RoutesOptions> = {}) {
  const brought: string[] = []
  const routes = new Routes({
    bring: async (id) => void brought.push(id),
    isThere: () => true,
    onfailed: () => {},
    random: () => 0,
    ...options
  })
  t.teardown(() => routes.close())
  return { routes, brought }
}

const LOST = SeaportError.LINK_LOST('nobody is there')

t.test(
  'letters that come while others wait for their receipts do not send those again',
  async (t) => {
    let under = 0
    const { routes, brought } = routesOf(t, {
      bring: async (id) => {
        t.equal(++under, 1, 'one at a time')
        await new Promise((resolve) => setImmediate(resolve))
        brought.push(id)
        under--
      }
    })
    const ids = Array.from({ length: 64 }, (_, i) => `${i}`)
    for (const id of ids) {
      routes.add('bob', id)
      if (Number(id) % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await restWhile(() => brought.length < ids.length)
    t.same(brought, ids)
  }
)

t.test('what has no receipt is sent again after a wait, in order', async (t) => {
  const { routes, brought } = routesOf(t, { backoffs: [5, 60_000] })
  for (const id of ['1', '2', '3']) routes.add('bob', id)
  routes.remove('bob', '2')
  await restWhile(() => brought.length < 4)
  t.same(brought, ['1', '3', '1', '3'])
})

t.test('a letter that fails keeps its place before those after it', async (t) => {
  let isThere = false
  const failed: (readonly string[])[] = []
  const { routes, brought } = routesOf(t, {
    backoffs: [60_000],
    onfailed: (ids) => failed.push(ids),
    bring: async (id) => {
      if (!isThere) throw LOST
      brought.push(id)
    }
  })
  for (const id of ['1', '2']) routes.add('bob', id)
  await restWhile(() => failed.length < 1)
  routes.add('bob', '3')
  await restWhile(() => failed.length < 2)
  t.same(failed.at(-1), ['1', '2', '3'])
  isThere = true
  routes.retry('bob')
  await restWhile(() => brought.length < 3)
  t.same(brought, ['1', '2', '3'])
})

t.test('who comes back while a letter to it fails is tried again at once', async (t) => {
  let tries = 0
  const { routes, brought } = routesOf(t, {
    backoffs: [60_000],
    bring: async (id) => {
      if (++tries > 1) return void brought.push(id)
      routes.retry('bob')
      throw LOST
    }
  })
  routes.add('bob', '1')
  await restWhile(() => brought.length < 1)
  t.equal(tries, 2)
})

t.test('a receiver whose letters all came to their end is forgotten', async (t) => {
  const { routes, brought } = routesOf(t, { backoffs: [1] })
  routes.add('bob', '1')
  routes.add('bob', '2')
  await restWhile(() => brought.length < 4)
  t.same(routes.targets(), ['bob'])
  for (const id of ['1', '2']) routes.remove('bob', id)
  await restWhile(() => routes.targets().length > 0)
})

import t, { type Test } from 'tap'
import { KeyPair } from '../../lib/core/keys.js'
import { Admission } from '../../lib/link/admission.js'
import type { IncomingStream } from '../../lib/link/incoming-stream.js'
import { Link } from '../../lib/link/link.js'
import { secretPair } from './pair.js'

t.test('below three quarters nobody gives way, however many links one key has', async (t) => {
  const { admission, join } = await crowd(t, 8)
  for (let i = 0; i < 5; i++) await join('one')
  t.equal(admission.surplus, null)
  await join('one')
  t.ok(admission.surplus)
})

t.test(
  'an idle link of the key that has most gives way, the one that is idle for longest',
  async (t) => {
    const { admission, join } = await crowd(t, 8)
    await join('few')
    const busy = await join('many')
    await busy.open()
    const idle = await join('many')
    for (let i = 0; i < 3; i++) await join('many')
    t.equal(admission.surplus, idle.there)
    await idle.open()
    t.not(admission.surplus, idle.there, 'not when it has a stream')
    t.ok(admission.surplus)
  }
)

t.test('where no key has two links, one of the address that has most gives way', async (t) => {
  const { admission, join } = await crowd(t, 8)
  const [honest] = [await join('a', '10.0.0.1')]
  const first = await join('b', '10.0.0.2')
  for (const name of ['c', 'd', 'e', 'f']) await join(name, '10.0.0.2')
  t.equal(admission.surplus, first.there)
  await honest.open()
})

t.test('who has streams open never gives way; when all have, there is no room', async (t) => {
  const { admission, join } = await crowd(t, 2)
  for (const name of ['a', 'b']) await (await join(name)).open()
  t.equal(admission.surplus, null)
  t.notOk(admission.hasRoom)
})

t.test('what was closed does not count', async (t) => {
  const { admission, join } = await crowd(t, 4)
  const links = [await join('a'), await join('a'), await join('a')]
  t.ok(admission.surplus)
  for (const { there } of links) there.destroy()
  t.equal(admission.links.size, 0)
  t.equal(admission.surplus, null)
})

/** Links of several keys and addresses to one who counts them. */
async function crowd(t: Test, maxLinks: number) {
  const admission = new Admission(maxLinks)
  const keys = new Map<string, KeyPair>()
  const join = async (name: string, address = '10.0.0.9') => {
    const keyPair = keys.get(name) ?? KeyPair()
    keys.set(name, keyPair)
    const { initiator, responder } = secretPair(t, keyPair)
    await Promise.all([initiator.opened, responder.opened])
    Object.assign(responder.rawStream, { remoteHost: address })
    const here = new Link(initiator)
    const onincoming = (incoming: IncomingStream) => incoming.accept()
    const there = new Link(responder, { onincoming })
    admission.add(there)
    return { there, open: () => here.open() }
  }
  return { admission, join }
}

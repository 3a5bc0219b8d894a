import { once } from 'node:events'
import t, { type Test } from 'tap'
import { parseKey } from '../../../lib/core/keys.js'
import { KeyPair, Service } from '../../../lib/index.js'
import type { CommandMap } from '../../../lib/messaging/commands.js'
import {
  decodeAnswer,
  decodeCall,
  encodeAnswer,
  encodeCall
} from '../../../lib/messaging/mail/call-letters.js'
import { ConsumerMail } from '../../../lib/messaging/mail/consumer-mail.js'
import { Participant } from '../../../lib/registry/replica/participant.js'
import { restWhile } from '../../rest.js'
import { bay, deferred } from '../bay.js'
import { mailHarbor } from './harbor.js'

/** A service that takes letters, and a sender without links, as between two routers where no hole can be punched. */
async function shore(t: Test, commands: CommandMap, allow?: Buffer[]) {
  const { options, registry } = await mailHarbor(t)
  const service = Service({ ...(await options()), role: 'worker@1.0.0', commands, allow })
  t.teardown(() => service.destroy())
  service.mail.on('message', () => t.fail('a command is no letter to be read'))
  await service.setup()
  const { bootstrap, dir } = await options()
  const member = {
    registry: parseKey(registry.registryPublicKey),
    bootstrap,
    dir,
    verb: 'consumer'
  }
  const participant = Participant.acquire(member)
  const onnotice = (notice: Error) => t.fail(notice.message)
  const terms = { dir, verb: 'consumer', direct: 'off', links: false } as const
  const mail = new ConsumerMail({ ...terms, participant, onnotice })
  t.teardown(async () => {
    await mail.close()
    await participant.release()
  })
  await participant.ready()
  if (!participant.replica.isSynced) await once(participant.replica, 'synced')
  const { sender } = await bay(t, {
    instances: {},
    byLetter: (outgoing, instance = service.servicePublicKey, signal) =>
      mail.call(instance, outgoing, signal)
  })
  return { service, sender, key: participant.keyPair.publicKey }
}

t.test('a command goes by letter where no link can be made, and so does its answer', async (t) => {
  const peers: string[] = []
  const { sender, key } = await shore(t, {
    echo: (data, { peer }) => {
      peers.push(peer)
      return data
    },
    fail: () => {
      throw Object.assign(new Error('no such thing'), { code: 'ENOTHING' })
    },
    large: () => Buffer.alloc(60 * 1024)
  })
  for (const data of [{ a: [1] }, Buffer.from([1, 2]), undefined]) {
    t.same(await sender.send('echo', data, { via: 'any' }), data)
  }
  t.same(peers, Array(3).fill(key.toString('hex')), 'who wrote it is who calls')
  await t.rejects(sender.send('fail', 1, { via: 'any' }), {
    code: 'COMMAND_FAILED',
    executed: 'yes',
    handlerCode: 'ENOTHING'
  })
  await t.rejects(sender.send('nothing', 1, { via: 'any' }), {
    code: 'UNKNOWN_COMMAND',
    executed: 'no'
  })
  const large = Buffer.alloc(60 * 1024)
  await t.rejects(sender.send('echo', large, { via: 'any' }), { code: 'TOO_LARGE', executed: 'no' })
  await t.rejects(sender.send('large', 1, { via: 'any' }), { code: 'TOO_LARGE', executed: 'yes' })
  await t.rejects(sender.send('echo', 1), { code: 'NO_INSTANCE', executed: 'no' }, 'by default not')
})

t.test('a command that went by letter runs once, and ends with its time', async (t) => {
  let runs = 0
  const { promise: never } = deferred()
  const { sender, service } = await shore(t, {
    hang: async () => {
      runs++
      await never
    }
  })
  await t.rejects(sender.send('hang', 1, { via: 'any', timeout: 3000 }), {
    code: 'DEADLINE',
    executed: 'perhaps'
  })
  t.equal(runs, 1)
  const leave = new AbortController()
  const left = sender.send('hang', 2, { via: 'any', signal: leave.signal })
  await restWhile(() => runs < 2)
  leave.abort()
  await t.rejects(left, { code: 'CANCELLED', executed: 'perhaps' })
  t.match(service.getStats().mail.inbox, { taken: 2, waiting: { letters: 0 } })
})

t.test('who may not talk with a service may not do so by letter', async (t) => {
  const { sender } = await shore(t, { echo: (data) => data }, [KeyPair().publicKey])
  await t.rejects(sender.send('echo', 1, { via: 'any' }), { code: 'NOT_ALLOWED', executed: 'no' })
})

t.test('what is no command in a letter, or no answer, is refused', async (t) => {
  const body = { kind: 'json', bytes: Buffer.from('1') } as const
  const call = encodeCall({ name: 'a', meta: { principal: 'ada' }, body })
  t.match(decodeCall(call), { name: 'a', meta: { principal: 'ada' }, body })
  const id = '07'.repeat(32)
  t.match(decodeAnswer(encodeAnswer(id, body)), { id, body, error: null })
  const bad = (head: unknown) => {
    const json = Buffer.from(typeof head === 'string' ? head : JSON.stringify(head))
    const length = Buffer.alloc(4)
    length.writeUInt32LE(json.byteLength, 0)
    return { kind: 'bytes', bytes: Buffer.concat([length, json]) } as const
  }
  for (const head of [
    '{',
    'null',
    { kind: 'odd' },
    { kind: 'none' },
    { kind: 'none', name: 'a b' }
  ]) {
    t.throws(() => decodeCall(bad(head)), { code: 'BAD_MESSAGE' })
    t.throws(() => decodeAnswer(bad(head)), { code: 'BAD_MESSAGE' })
  }
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(9, 255)]) {
    t.throws(() => decodeCall({ kind: 'bytes', bytes }), { code: 'BAD_MESSAGE' })
  }
})

import t from 'tap'
import { AccessList, makePerson, makeToken } from '../../lib/gateway/access.js'
import { PasswordChecks } from '../../lib/gateway/password-checks.js'
import { Harbor } from './harbor.js'

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

/** Checks that end when they are told to. */
function held(checks: PasswordChecks) {
  const running: { name: string; end: (isRight: boolean) => void }[] = []
  const ask = (name: string, client = 'a') =>
    checks.run(name, client, () => {
      return new Promise<boolean>((end) => running.push({ name, end }))
    })
  return { running, ask }
}

t.test('few checks run at a time, and a flood of one address delays no other', async (t) => {
  const { running, ask } = held(new PasswordChecks())
  const flood = Array.from({ length: 400 }, (_, i) => ask(`guess-${i}`).catch((error) => error))
  await new Promise(setImmediate)
  t.equal(running.length, 2)
  const other = ask('ada', 'b')
  const same = ask('bob', 'a')
  await new Promise(setImmediate)
  const refused = (await Promise.race(flood)) as { code: string }
  t.equal(refused.code, 'TOO_MANY_GUESSES', 'those that waited longest')
  const names: string[] = []
  while (running.length > 0) {
    const { name, end } = running.shift() as (typeof running)[number]
    names.push(name)
    end(false)
    await new Promise(setImmediate)
  }
  t.ok(names.indexOf('ada') <= 4, `another address is next, ${names.slice(0, 6)}`)
  t.ok(names.indexOf('bob') <= 4, 'and so is who came last from the same')
  t.ok(names.length <= 21, `of 402, ${names.length} were checked`)
  await Promise.all([...flood, other, same])
})

t.test('a flood of other names does not end the wait of one', async (t) => {
  const { running, ask } = held(new PasswordChecks({ now: () => 0 }))
  for (let i = 0; i < 5; i++) {
    const guess = ask('ada')
    await new Promise(setImmediate)
    running.shift()?.end(false)
    await guess
  }
  const wait = { code: 'TOO_MANY_GUESSES', message: /in 1 s$/ }
  await t.rejects(ask('ada'), wait)
  const flood = Array.from({ length: 5000 }, (_, i) => ask(`name-${i}`).catch(() => {}))
  const again = await Promise.race([ask('ada').catch((error) => error), new Promise(setImmediate)])
  t.match(again, wait, 'nothing was checked for the others')
  while (running.length > 0) {
    running.shift()?.end(false)
    await new Promise(setImmediate)
  }
  await Promise.all(flood)
})

t.test('who guesses has to wait, by name and address together', async (t) => {
  let now = 0
  const checks = new PasswordChecks({ now: () => now })
  const guess = (isRight: boolean, name = 'ada', client = 'a') =>
    checks.run(name, client, () => Promise.resolve(isRight))
  for (let i = 0; i < 5; i++) t.equal(await guess(false), false)
  await t.rejects(guess(true), { code: 'TOO_MANY_GUESSES', message: /in 1 s$/ })
  t.equal(await guess(true, 'ada', 'b'), true, 'the same name from another address')
  t.equal(await guess(true, 'bob', 'a'), true, 'another name from the same address')
  now += 1000
  t.equal(await guess(false), false)
  await t.rejects(guess(true), { message: /in 2 s$/ })
  now += 2000
  t.equal(await guess(true), true)
  t.equal(await guess(false), false, 'and what was right begins anew')
})

t.test('a name that is there cannot be told from one that is not', async (t) => {
  const harbor = await Harbor.make(t)
  await harbor.service('api@1.0.0', ({ headers }, response) => {
    response.end(headers.authorization ?? 'none')
  })
  await harbor.service('site@1.0.0', ({ headers }, response) => {
    response.end(headers.authorization ?? 'none')
  })
  const { token, line } = makeToken('ci', ['api'])
  const access = `${line}\n${await makePerson('ada', 'right', ['api'])}\n`
  const web = await harbor.web({ access, open: ['site'] })
  const ask = async (authorization: string, role = 'api') => {
    const from = process.cpuUsage()
    const answer = await fetch(`${web.url}role/${role}/`, { headers: { authorization } })
    const text = await answer.text()
    // Work, and not time: other processes may take any time that they like.
    const { user, system } = process.cpuUsage(from)
    return { status: answer.status, text, work: (user + system) / 1000 }
  }
  const works: Record<string, number> = { ada: Infinity, bob: Infinity }
  for (let i = 0; i < 4; i++) {
    for (const name of ['ada', 'bob']) {
      const { status, text, work } = await ask(basic(`${name}:wrong ${i}`))
      t.match([status, text], [401, /needs a token, or a name and password/], name)
      works[name] = Math.min(work, works[name] as number)
    }
  }
  const { ada = 0, bob = 0 } = works
  t.ok(Math.max(ada, bob) < 3 * Math.min(ada, bob), `equal work, ${ada} and ${bob} ms`)
  for (const name of ['ada', 'bob']) {
    const own = basic(`${name}:of the service`)
    t.equal((await ask(own, 'site')).text, own, 'it may be meant for the service')
  }
  for (const name of ['ada', 'bob']) {
    for (let i = 0; i < 2; i++) await ask(basic(`${name}:more ${i}`))
    t.match(await ask(basic(`${name}:and more`)), { status: 429, text: /TOO_MANY_GUESSES/ }, name)
  }
  t.equal((await ask(`Bearer ${token}`)).text, 'none', 'tokens are as they were')
})

t.test('guesses of one name keep nobody else waiting', async (t) => {
  const people = [await makePerson('ada', 'right', ['*']), await makePerson('bob', 'mine', ['*'])]
  const list = new AccessList({ text: people.join('\n') })
  const guesses = Array.from({ length: 400 }, async (_, i) => {
    try {
      return await list.identify(basic(`ada:${i}`), '192.0.2.1')
    } catch (error) {
      return (error as { code: string }).code
    }
  })
  const many = await Promise.all(
    Array.from({ length: 10 }, () => list.identify(basic('bob:mine'), '192.0.2.1'))
  )
  t.match(many, Array(10).fill({ name: 'bob' }), 'many requests of a browser share a check')
  const outcomes = await Promise.all(guesses)
  t.ok(outcomes.filter((outcome) => outcome === null).length <= 2)
  t.match(await list.identify(basic('ada:right'), '192.0.2.2'), { name: 'ada' })
})

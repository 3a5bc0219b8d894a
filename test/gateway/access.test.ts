import t from 'tap'
import { parseRolePattern } from '../../lib/core/role-pattern.js'
import { AccessList, makePerson, makeToken } from '../../lib/gateway/access.js'

t.test('tokens and passwords are known by their hashes', async (t) => {
  const { token, line } = makeToken('ci', ['api@1.x'])
  const person = await makePerson('ada', 'correct: horse', ['*'])
  t.notMatch(line, token)
  t.notMatch(person, 'horse')
  const list = new AccessList({
    text: `# who\n\n${line}\n${person}\n`,
    open: [parseRolePattern('site')]
  })
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

  t.equal(list.anonymous.mayReach('site', '1.0.0'), true)
  t.equal(list.anonymous.mayReach('api', '1.0.0'), false)
  const ci = await list.identify(`Bearer ${token}`)
  t.equal(ci?.name, 'ci')
  t.equal(ci?.mayReach('api', '1.2.0'), true)
  t.equal(ci?.mayReach('api', '2.0.0'), false)
  t.equal(ci?.mayReach('site', '1.0.0'), true, 'what is open stays open')
  for (let time = 0; time < 2; time++) {
    t.equal((await list.identify(basic('ada:correct: horse')))?.mayReachAll, true)
  }
  t.equal(await list.identify(basic('ada:wrong')), null, 'as a name that nobody has')
  t.equal(await list.identify('Bearer of-the-service'), null, 'may be meant for the service')
  t.equal(await list.identify(basic('bob:x')), null)
  t.throws(() => new AccessList({ text: 'ci:secret' }), { code: 'BAD_CONFIG' })
})

import t from 'tap'
import { usedRoles, variablesOf } from '../../lib/hosting/used-roles.js'

t.test('variables are named for the role, in capitals', async (t) => {
  const prefixes = ['db@3.x', '@team/mail-in', '2fa@^1.0.0', 'a.b~c'].map(
    (role) => usedRoles([role])[0]?.prefix
  )
  t.same(prefixes, ['DB', 'TEAM_MAIL_IN', '_2FA', 'A_B_C'])
  const [db] = usedRoles(['db@3.x'])
  t.match(db, { role: 'db', range: '3.x' })
  t.same(db && variablesOf(db, '127.0.0.1', 4000), {
    DB_URL: 'http://127.0.0.1:4000',
    DB_HOST: '127.0.0.1',
    DB_PORT: '4000'
  })
})

t.test('two roles with the same variables are refused, and so are our own roles', async (t) => {
  t.throws(() => usedRoles(['db@3.x', 'db@4.x']), { code: 'BAD_CONFIG', message: /DB_URL/ })
  t.throws(() => usedRoles(['a-b', 'a.b']), { code: 'BAD_CONFIG' })
  t.throws(() => usedRoles(['@hyperseaport/host']), { code: 'BAD_CONFIG' })
  t.throws(() => usedRoles(['db@nonsense']), { code: 'BAD_ROLE' })
})

import t from 'tap'
import {
  isExactVersion,
  isRoleName,
  MAX_ROLE_LENGTH,
  parseRoleRange,
  parseServiceRole
} from '../../lib/core/role.js'

const LONG = 'a'.repeat(MAX_ROLE_LENGTH)

t.test('a service is a name and one exact version', (t) => {
  for (const [text, role, version] of [
    ['couchdb@3.2.2', 'couchdb', '3.2.2'],
    ['@team/api@1.0.0', '@team/api', '1.0.0'],
    ['a.b_c~d-e@0.0.1-beta.1', 'a.b_c~d-e', '0.0.1-beta.1'],
    ['A@1.0.0', 'A', '1.0.0']
  ] as const) {
    t.same(parseServiceRole(text), { role, version }, text)
  }
  for (const text of [
    '',
    'couchdb',
    'couchdb@',
    'couchdb@3.x',
    'couchdb@^3.2.2',
    'couchdb@v3.2.2',
    'couchdb@3.2',
    '@team/api',
    '@/api@1.0.0',
    'a b@1.0.0',
    '.a@1.0.0',
    'a/b@1.0.0',
    `${LONG}@1.0.0`
  ]) {
    t.throws(() => parseServiceRole(text), { code: 'BAD_ROLE' }, text)
  }
  t.end()
})

t.test('a consumer asks for a name and a range, or for all released versions', (t) => {
  for (const [text, role, range] of [
    ['couchdb', 'couchdb', '*'],
    ['couchdb@', 'couchdb', '*'],
    ['couchdb@3.x', 'couchdb', '3.x'],
    ['@team/api@^1.2.0 || 2.x', '@team/api', '^1.2.0 || 2.x'],
    ['@team/api', '@team/api', '*'],
    ['api@ >=1 <3 ', 'api', '>=1 <3']
  ] as const) {
    t.same(parseRoleRange(text), { role, range }, text)
  }
  const lines = parseRoleRange('api@1.x\n||\u2028\t2.x')
  t.equal(lines.range, '1.x || 2.x', 'line ends do not get into logs')
  for (const text of ['', '@', '@team', 'a b', 'api@three', 'api@1.x@2.x', `${LONG}a`]) {
    t.throws(() => parseRoleRange(text), { code: 'BAD_ROLE' }, text)
  }
  t.end()
})

t.test('what others send is a name, and a version, only in normal form', (t) => {
  for (const name of ['api', '@team/api', LONG]) t.ok(isRoleName(name), name)
  for (const name of ['', '@team', 'a b', `${LONG}a`, 1, null, undefined, {}]) {
    t.notOk(isRoleName(name), String(name))
  }
  for (const version of ['1.0.0', '1.0.0-rc.1']) t.ok(isExactVersion(version), version)
  for (const version of ['v1.0.0', '1.0', ' 1.0.0', '1.0.0+build', '1.x', 1, null, undefined]) {
    t.notOk(isExactVersion(version), String(version))
  }
  t.end()
})

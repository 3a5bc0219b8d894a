/** What a service is called, and where its backend is, as text that somebody typed. */
export { parseRoleRange, parseServiceRole } from './core/role.js'
export { parseBackend } from './serving/backend.js'

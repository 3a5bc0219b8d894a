/** The file of who may reach what through a gateway (`web --auth`): to read it, and to make its lines. */
export { AccessList, makePerson, makeToken } from './gateway/access.js'

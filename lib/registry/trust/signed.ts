/**
 * What members sign, as the rooms outside of the registry know it: the other files of this room are for the registry.
 */
export {
  APP,
  type AppFields,
  type AppPlace,
  type AppRelease,
  type AppStatement,
  driverOf,
  hashOf,
  ownersOf,
  signApp,
  wantedOf
} from './app-statement.js'
export { DRAIN, signDrain } from './drain.js'
export { FORGOTTEN, type Forgotten, signForgotten } from './forgotten.js'
export {
  type Deployment,
  type Grant,
  type GrantTerms,
  MAX_OVERRULED,
  type Revocation,
  signGrant,
  signRevocation
} from './grant.js'
export { type InstanceProof, signInstance } from './instance-proof.js'
export { OVERRULED, type OverruledChange, type OverruledChanges } from './overruled.js'
export {
  checkTags,
  MAX_MAILBOXES,
  PEER,
  parseRecord,
  type RecordFields,
  recordOf,
  type ServiceRecord,
  type Status,
  verifyRecord
} from './record.js'
export type { StatementKind } from './statement-kind.js'
export { type Judgement, MAX_WHY, signVerdict, VERDICT, type Verdict } from './verdict.js'

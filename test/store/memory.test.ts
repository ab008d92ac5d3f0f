import { systemClock } from '../../src/shared/base/clock.ts';
import { faultyStore } from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { describeStoreContract } from './contract.ts';

describeStoreContract("the simulations' store in memory, through a fault injector that injects none", {
  open: async () => faultyStore(new MemoryStore(), () => ({}), systemClock),
  manyObjects: 10,
});

import type { Appender } from '../../src/main/store/append.ts';
import type { Tampering } from './workers.ts';

/** A product that is broken on purpose, to see the simulation find it. */
export interface Variant {
  readonly name: string;
  /** What it breaks. */
  readonly breaks: string;
  appender?(appender: Appender): Appender;
  tampering?(): Tampering;
  /** Changes a class; answers what takes that back. */
  install?(): () => void;
}

export const VARIANTS: readonly Variant[] = [];

/** What every thread that is measured is started with, beside its own data. */
export interface MeasuredThread {
  /** Where it counts its pauses: see `shared/base/pauses.ts`. Absent where nobody asks, as in a command. */
  pauses?: SharedArrayBuffer;
}

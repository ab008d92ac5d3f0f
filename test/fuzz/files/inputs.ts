import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from '../../support/netsy.ts';
import { Seeded } from '../../support/seeded.ts';
import { corpusOf, type Sample } from './corpus.ts';
import { RAW_MUTATIONS, type RawMutation, ZSTD_MUTATIONS } from './raw-mutations.ts';
import { inspect, type Meaning, type Reading, read } from './readers.ts';
import { PACK_MUTATIONS, SEALED_MUTATIONS } from './sealed-mutations.ts';

/** One input after another: which file, which mutation and what of it are decided by the seed and the input's number. */

/** What became of an input. */
export interface Outcome {
  readonly mutation: string;
  /**
   * `same`: it was read, and says what the file said. `other` (only where the CRCs were made right again, or where
   * Netsy for Go's format has no CRC that ties a body to its header): it says something else, and shows it.
   */
  readonly verdict: 'refused' | 'same' | 'other';
  /** What refused it: `header CRC64`, `record length` … */
  readonly check: string | undefined;
  readonly inspected: boolean;
}

/** An input that was taken for what it is not, or that ended a reader otherwise than by refusal. */
export class InputError extends Error {
  override name = 'InputError';
  readonly input: Buffer;

  constructor(sample: Sample, mutation: string, input: Buffer, message: string) {
    super(`${sample.name}, ${mutation}: ${message}`);
    this.input = input;
  }
}

/** Every so many inputs `inspect` reads one as well, from a file. */
const INSPECT_EVERY = 61;
/** Parts of the inputs, of 16. */
const RAW_SHARE = 8;
const ZSTD_SHARE = 2;

export class Inputs {
  readonly #seed: number;
  readonly #corpus: readonly Sample[];
  readonly #meanings = new Map<Sample, Meaning>();
  readonly #directory = temporaryDirectory();

  private constructor(seed: number, corpus: readonly Sample[]) {
    this.#seed = seed;
    this.#corpus = corpus;
  }

  /** Makes the corpus, and checks that every file of it is read. */
  static async of(seed: number): Promise<Inputs> {
    const inputs = new Inputs(seed, await corpusOf(seed));
    for (const sample of inputs.#corpus) {
      const reading = await read(sample, sample.bytes);
      if ('refused' in reading) throw reading.refused;
      inputs.#meanings.set(sample, reading.meaning);
    }
    return inputs;
  }

  /** Makes input `number` and reads it. Rejects with an `InputError` when that should not have come out. */
  async try(number: number): Promise<Outcome> {
    const random = new Seeded(this.#seed + Math.imul(number + 1, 0x9e37_79b1));
    // The first numbers of neighbouring seeds are alike.
    for (let skip = 0; skip < 4; skip++) random.fraction();
    const sample = random.pick(this.#corpus);
    const { name, isSealed, mutate } = this.#mutation(random, sample);
    const bytes = mutate(random, sample, this.#corpus);
    const fail = (message: string): never => {
      throw new InputError(sample, name, bytes, message);
    };
    let reading: Reading;
    try {
      reading = await read(sample, bytes);
    } catch (error) {
      return fail((error as Error).stack ?? String(error));
    }
    const verdict = this.#judge(sample, bytes, isSealed, reading, fail);
    // Bombs are for those who read with a limit on a server; inspect's is what Node's buffers hold.
    const inspected = number % INSPECT_EVERY === 0 && name !== 'zstd: a bomb';
    if (inspected) await this.#inspect(sample, bytes, verdict, fail);
    const check = 'refused' in reading ? `${reading.refused.part}: ${reading.refused.check}` : undefined;
    return { mutation: name, verdict, check, inspected };
  }

  #mutation(
    random: Seeded,
    { isZstd, sort }: Sample,
  ): { name: string; isSealed: boolean; mutate: RawMutation } {
    const share = random.integer(0, 16);
    const isZstdMutation = share >= RAW_SHARE && share < RAW_SHARE + ZSTD_SHARE && isZstd;
    const isSealed = share >= RAW_SHARE && !isZstdMutation;
    const sealed = sort === 'pack' ? PACK_MUTATIONS : SEALED_MUTATIONS;
    const mutations = isSealed ? sealed : isZstdMutation ? ZSTD_MUTATIONS : RAW_MUTATIONS;
    const [name, mutate] = random.pick(Object.entries(mutations));
    return { name, isSealed, mutate };
  }

  #judge(
    sample: Sample,
    bytes: Buffer,
    isSealed: boolean,
    reading: Reading,
    fail: (message: string) => never,
  ): Outcome['verdict'] {
    if ('refused' in reading) {
      const { message, object } = reading.refused;
      if (!object.startsWith(sample.key) || !/ at byte \d+: .*: expected .*, found /s.test(message))
        fail(`the error says: ${message}`);
      return 'refused';
    }
    const { header, body, crc } = reading.meaning;
    const original = this.#meanings.get(sample)!;
    const isSame = header === original.header && body === original.body;
    if (isSame && (isSealed || crc === original.crc)) return 'same';
    const isOurs = sample.sort !== 'file of Netsy for Go';
    if (isSealed && (crc !== original.crc || !isOurs)) return 'other';
    if (!isOurs && (this.#isOfWholeFiles(reading.meaning) || this.#isWholeFile(bytes))) return 'other';
    return fail(`accepted, with other contents${isSealed ? ' and the same CRC' : ''}`);
  }

  /** Netsy for Go's footer does not cover the header, so one file's header before another's body can't be told. */
  #isOfWholeFiles({ header, body, crc }: Meaning): boolean {
    const whole = [...this.#meanings.values()];
    return (
      whole.some((other) => other.header === header) &&
      whole.some((other) => other.body === body && other.crc === crc)
    );
  }

  /** Nor does it say where it belongs: a splice may be all of another file. */
  #isWholeFile(bytes: Buffer): boolean {
    return this.#corpus.some((sample) => sample.bytes.equals(bytes));
  }

  async #inspect(
    sample: Sample,
    bytes: Buffer,
    verdict: Outcome['verdict'],
    fail: (message: string) => never,
  ): Promise<void> {
    const path = join(this.#directory, 'input.netsy');
    const { exitCode, lines } = await inspect(path, bytes).catch((error: Error) =>
      fail(`inspect: ${error.message}`),
    );
    if (verdict !== 'refused' && exitCode !== 0)
      fail(`inspect refuses what is read: ${lines[lines.length - 1]}`);
    if (verdict === 'same') {
      const whole = await inspect(path, sample.bytes);
      if (withoutCrcs(whole.lines) !== withoutCrcs(lines))
        fail('inspect prints something else than of the original');
    }
  }

  /** Removes what it wrote. */
  end(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** What was printed, without CRCs and the fields' order: those may be others for the same contents. */
function withoutCrcs(lines: readonly string[]): string {
  const sorted = (_: string, value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
  };
  const text = lines.map((line) => JSON.stringify(JSON.parse(line), sorted)).join('\n');
  return text.replace(/"(crc|headerCrc|recordsCrc)":"0x[0-9a-f]+"/g, '');
}

import { InvalidArgumentError } from 'commander';

/** A whole number of at least 0; commander prints the error beside the flag's name. */
export function integer(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('A whole number is needed.');
  return Number(text);
}

/** A whole number of at least 1. */
export function positive(text: string): number {
  const value = integer(text);
  if (value === 0) throw new InvalidArgumentError('At least 1 is needed.');
  return value;
}

/** A finite number of at least 0. */
export function nonNegative(text: string): number {
  const value = Number(text);
  if (text === '' || !(value >= 0 && value < Infinity)) {
    throw new InvalidArgumentError('A number of at least 0 is needed.');
  }
  return value;
}

/** Whole numbers of at least 1, separated by commas. */
export function positives(text: string): number[] {
  return text.split(',').map(positive);
}

/** Words out of `allowed`, separated by commas. */
export function words<Word extends string>(allowed: readonly Word[]): (text: string) => Word[] {
  return (text) =>
    text.split(',').map((word) => {
      const known = allowed.find((one) => one === word);
      if (known === undefined) throw new InvalidArgumentError(`Allowed are: ${allowed.join(', ')}.`);
      return known;
    });
}

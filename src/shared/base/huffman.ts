/**
 * HPACK's Huffman code (RFC 7541, section 5.2 and appendix B). It is canonical: within a length the codes count up in
 * the order of the symbols, and each length goes on where the one before it ended. So the lengths say it all.
 */

/** The length of each symbol's code in bits, as a digit of base 36; the last symbol ends a string (EOS). */
const CODE_LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca' +
  'd67777777777777777777777878djde6f56565666577666567655677777fbeds' +
  'kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn' +
  'qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq' +
  'u';
const EOS = 256;
const LENGTH_MIN = 5;
const LENGTH_MAX = 30;
/** A string ends with fewer bits than a byte of EOS, which is all ones. */
const PADDING_BITS_MAX = 7;

/**
 * The code as a tree in an array: a node is two places, for the next bit's 0 and 1. A place holds the next node's, or
 * a symbol as its negative minus one.
 */
const TREE = buildTree();

function buildTree(): Int16Array {
  const tree = new Int16Array(2 * (EOS + 1));
  let nodes = 1;
  let code = 0;
  for (let length = LENGTH_MIN; length <= LENGTH_MAX; length++) {
    for (let symbol = 0; symbol <= EOS; symbol++) {
      if (Number.parseInt(CODE_LENGTHS.charAt(symbol), 36) !== length) continue;
      let place = 0;
      for (let bit = length - 1; bit > 0; bit--) {
        place += (code >>> bit) & 1;
        if (tree[place] === 0) tree[place] = 2 * nodes++;
        place = tree[place] ?? 0;
      }
      tree[place + (code & 1)] = -symbol - 1;
      code++;
    }
    code *= 2;
  }
  return tree;
}

/** A string's bytes as latin1. Throws on what section 5.2 forbids: EOS in it, or padding that is not EOS's begin. */
export function decodeHuffman(bytes: Uint8Array): string {
  let text = '';
  let place = 0;
  let bits = 0;
  let ones = true;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      const value = (byte >> bit) & 1;
      ones &&= value === 1;
      bits++;
      place = TREE[place + value] ?? 0;
      if (place >= 0) continue;
      if (place === -EOS - 1) throw new Error('a Huffman string has its end mark in it');
      text += String.fromCharCode(-place - 1);
      place = 0;
      bits = 0;
      ones = true;
    }
  }
  if (bits > PADDING_BITS_MAX || !ones) throw new Error('a Huffman string ends within a symbol');
  return text;
}

// The tokenizer of BERT: words, then the longest pieces of them that the vocabulary has.
const CLS = "[CLS]", SEP = "[SEP]", UNKNOWN = "[UNK]";
const LONGEST = 100;  // characters of a word that is cut at all

export class WordPiece {
    constructor(vocabulary) {
        this.ids = new Map(vocabulary.split("\n").map((token, id) => [token.replace(/\r$/, ""), id]));
    }

    /** Ids of a text, [CLS] and [SEP] around them; longer ones are cut. */
    encode(text, most = 128) {
        const pieces = this.#words(text).flatMap((word) => this.#pieces(word)).slice(0, most - 2);
        return [CLS, ...pieces, SEP].map((piece) => this.ids.get(piece));
    }

    #words(text) {
        const plain = text.replace(/[\u0000\ufffd]/g, "").replace(/[\p{Cc}\p{Cf}]/gu, (c) => /\s/.test(c) ? " " : "")
            .toLowerCase().normalize("NFD").replace(/\p{Mn}/gu, "");
        const apart = plain.replace(/[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u{20000}-\u{2ceaf}]/gu, " $& ")
            .replace(/[\p{P}$+<=>^`|~]/gu, " $& ");
        return apart.split(/\s+/).filter(Boolean);
    }

    #pieces(word) {
        const letters = Array.from(word);
        const found = [];
        for (let begin = 0; begin < letters.length;) {
            let end = letters.length;
            let piece;
            for (; end > begin; end--) {
                piece = (begin ? "##" : "") + letters.slice(begin, end).join("");
                if (this.ids.has(piece))
                    break;
            }
            if (end === begin || letters.length > LONGEST)
                return [UNKNOWN];
            found.push(piece);
            begin = end;
        }
        return found;
    }
}

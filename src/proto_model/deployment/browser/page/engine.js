// What programs of one's own import: engine.mjs.
import { openModel } from "./model.js";
import { scoreCsv } from "./csv.js";

"""One declaration of a document, from which its parser, its printer and its JSON Schema follow."""

curl() { true; }

"""Lines to sing, by language. A line in `[[ ]]` consists of phonemes, for singing without words."""

VOCALISES: tuple[str, ...] = (
    "[[u: u: u: u:]]",
    "[[a a a a a]]",
    "[[la la la la la la]]",
    "[[na na na na na na na]]",
    "[[mu: mu: mu: mu:]]",
    "[[o: o: o: o:]]",
    "[[du: du: du: du: du: du:]]",
)

ENGLISH: tuple[str, ...] = (
    "the morning light is on the stairs",
    "I left my coat beside the door",
    "we drove all night along the shore",
    "nobody knows the road I take",
    "your letters sleep inside my drawer",
    "the river turned to silver rain",
    "I hear you laughing down the hall",
    "and every window holds a star",
    "we built a house of paper walls",
    "come over when the snow is gone",
    "I never learned to say goodbye",
    "the summer moves so very slow",
    "a hundred miles of yellow corn",
    "you sang the lowest note of all",
    "my mother kept the radio on",
    "the lights go out across the bay",
    "hold on a little while with me",
    "there is a fire in the hills",
    "we were so young and out of tune",
    "I count the birds along the wire",
    "tell me again about the sea",
    "it all comes back in black and blue",
    "the train is late the town is small",
    "open the door and let it rain",
)

ENGLISH_POP: tuple[str, ...] = (
    "turn it up and feel the floor",
    "neon burning through the dark",
    "baby we can run tonight",
    "give me one more second now",
    "all my friends are on the moon",
    "dance until the batteries die",
    "digital heart of mine",
    "never gonna slow me down",
    "screens are glowing in the night",
    "hit the button let me go",
)

GERMAN: tuple[str, ...] = (
    "der Regen fällt auf unser Dach",
    "ich gehe heim im Morgenlicht",
    "die alte Straße führt nach Haus",
    "wir tanzen barfuß durch den Schnee",
    "du hast den Sommer mitgebracht",
    "und keiner weiß wohin es geht",
    "im Garten steht ein kleines Boot",
    "die Lieder klingen weit ins Tal",
    "ich schreibe dir aus dieser Stadt",
    "der Wind hat meinen Hut geholt",
)

DUTCH: tuple[str, ...] = (
    "de regen valt op onze straat",
    "ik zing een liedje voor de zee",
    "de oude molen draait nog steeds",
    "wij lopen samen door de nacht",
    "het water is zo koud en stil",
    "je brief ligt onder mijn gitaar",
    "de trein vertrekt om kwart voor drie",
    "ik wacht op jou de hele dag",
)

SPANISH: tuple[str, ...] = (
    "la noche baila junto al mar",
    "dame la mano una vez más",
    "tu nombre suena en la ciudad",
    "no quiero ver amanecer",
    "las luces giran sin parar",
    "mi corazón se va contigo",
    "bajo la lluvia de neón",
    "todo se mueve alrededor",
    "quédate cerca de mi voz",
    "el tiempo corre y yo también",
)

ITALIAN: tuple[str, ...] = (
    "la luna cade dentro al mare",
    "balliamo fino a domattina",
    "non dirmi mai la verità",
    "la radio suona solo te",
    "corro da sola in autostrada",
    "dammi un minuto di silenzio",
    "le luci accese in piazza sono",
    "sento la notte che respira",
    "portami via di qua stasera",
    "il cuore batte come un tuono",
)

FRENCH: tuple[str, ...] = (
    "la nuit descend sur le boulevard",
    "je danse encore avec la pluie",
    "tu n'as jamais dit au revoir",
    "le monde tourne autour de nous",
    "une lumière au bout du quai",
    "on va courir sous les néons",
    "garde ma main dans le silence",
    "la musique monte et je m'en vais",
    "tout recommence à minuit",
)

PORTUGUESE: tuple[str, ...] = (
    "a lua nasce sobre o mar",
    "vem dançar comigo agora",
    "a cidade não quer dormir",
    "teu olhar me leva embora",
    "o verão acabou de chegar",
    "eu canto para não chorar",
    "a rua inteira vai cantar",
    "fica mais um pouco aqui",
)
